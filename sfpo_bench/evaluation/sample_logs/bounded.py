"""Readers for files that may be damaged or malicious: every length is checked before memory is allocated for it."""

from __future__ import annotations

import json
import stat
import zipfile
import zlib
from collections.abc import Iterator, Sequence
from contextlib import closing
from pathlib import Path, PurePosixPath, PureWindowsPath

from sfpo_bench.core.errors import ConfigError, DamagedFile

LONGEST_LINE = 64 * 2**20  # bytes of a line, or of a sample in a zip
MOST_SAMPLES = 2_000_000
_LARGEST_MEMBER = 512 * 2**20
# A log of long, repetitive texts compresses to a hundredth of its size; a zip bomb to less than a thousandth.
_LARGEST_RATIO, _ALWAYS_ALLOWED = 500, 64 * 2**20
_ZSTANDARD = 93  # a compression method of zip that the standard library supports from Python 3.14 on


def json_lines(path: Path, cut_last_line: bool) -> Iterator[tuple[str, dict[str, object]]]:
    """Yield the place and the object of every line that is not blank. Raises `ConfigError` that names a bad line."""
    held: tuple[int, bytes] | None = None
    with open(path, "rb") as handle:
        for number in range(1, MOST_SAMPLES + 2):
            line = handle.readline(LONGEST_LINE + 1)
            if not line:
                break
            if len(line) > LONGEST_LINE or number > MOST_SAMPLES:
                raise ConfigError(
                    f"{path}, line {number}: found a line of more than {LONGEST_LINE >> 20} MiB, or more than "
                    f"{MOST_SAMPLES:,} lines; expected a sample on each line. Split the file"
                )
            if held is not None:
                yield f"{path}, line {held[0]}", json_object(f"{path}, line {held[0]}", held[1])
            held = (number, line) if line.strip() else None
    if held is not None:
        yield from _last_line(path, held, cut_last_line)


def first_object(path: Path) -> dict[str, object] | None:
    """Return the JSON object in the first line that is not blank, or None if that line is no object."""
    with open(path, "rb") as handle:
        while (line := handle.readline(LONGEST_LINE)) and not line.strip():
            pass
    try:
        return json_object(str(path), line)
    except ConfigError:
        return None


def _last_line(path: Path, held: tuple[int, bytes], cut: bool) -> Iterator[tuple[str, dict[str, object]]]:
    place = f"{path}, line {held[0]}"
    try:
        found = json_object(place, held[1])
    except ConfigError as error:
        if cut:
            return
        raise ConfigError(f"{error}; a last line that was cut off is left out with cut_last_line=true") from error
    yield place, found


def json_object(place: str, text: bytes) -> dict[str, object]:
    """Parse `text` as a JSON object. Raises `ConfigError`."""
    try:
        found = json.loads(text.decode("utf-8-sig", errors="replace"))
    except (ValueError, RecursionError) as error:
        raise ConfigError(f"{place}: found no JSON ({str(error)[:120]}), expected one object") from error
    if not isinstance(found, dict):
        raise ConfigError(f"{place}: found a JSON {type(found).__name__}, expected an object with named values")
    return found


def opened_zip(path: Path) -> zipfile.ZipFile:
    """Open a zip and check its directory. Raises `DamagedFile`.

    Refused are duplicate names, names that point outside the archive, encrypted members, and an uncompressed size that
    is implausible for the file's size. Nothing is extracted to disk.
    """
    try:
        archive = zipfile.ZipFile(path)
    except (zipfile.BadZipFile, OSError, ValueError, EOFError, NotImplementedError) as error:
        raise DamagedFile(f"{path} is damaged: no zip can be read from it ({error}); bring the whole file") from error
    with_fault = _fault(path, archive.infolist())
    if with_fault:
        archive.close()
        raise DamagedFile(f"{path} {with_fault}; expected a log as its program wrote it")
    return archive


def _fault(path: Path, members: Sequence[zipfile.ZipInfo]) -> str:
    names = [one.filename for one in members]
    leaving = [one for one in names if ".." in PurePosixPath(one).parts or "\\" in one or PureWindowsPath(one).anchor]
    if leaving:
        return f"holds a member that leaves the folder it is in ({leaving[0]!r})"
    if links := [one.filename for one in members if stat.S_ISLNK(one.external_attr >> 16)]:
        return f"holds a link ({links[0]!r})"
    if len(set(names)) < len(names):
        return f"holds {next(one for one in names if names.count(one) > 1)!r} twice"
    if any(one.flag_bits & 1 for one in members):
        return "is encrypted"
    whole = sum(one.file_size for one in members)
    if whole > max(_ALWAYS_ALLOWED, _LARGEST_RATIO * path.stat().st_size) or len(names) > MOST_SAMPLES:
        return f"would unfold to {whole / 2**20:,.0f} MiB in {len(names):,} members, out of proportion to its size"
    return ""


def member(path: Path, archive: zipfile.ZipFile, name: str) -> bytes:
    """Return the content of a member, at most as many bytes as the directory states. Raises `DamagedFile`."""
    info = archive.getinfo(name)
    if info.file_size > _LARGEST_MEMBER:
        raise DamagedFile(f"{path}: {name} would unfold to {info.file_size / 2**20:,.0f} MiB; expected a sample")
    try:
        read = _zstandard if info.compress_type == _ZSTANDARD else _by_zipfile
        content = read(path, archive, info)
    except (zipfile.BadZipFile, zlib.error, OSError, ValueError, EOFError, NotImplementedError, RuntimeError) as error:
        raise DamagedFile(f"{path}: {name} is damaged ({str(error)[:120]}); bring the whole file") from error
    if len(content) != info.file_size or zlib.crc32(content) != info.CRC:
        raise DamagedFile(f"{path}: {name} is damaged: its checksum is another; bring the whole file")
    return content


def _by_zipfile(path: Path, archive: zipfile.ZipFile, info: zipfile.ZipInfo) -> bytes:
    with archive.open(info) as handle:
        return handle.read(info.file_size + 1)


def _zstandard(path: Path, archive: zipfile.ZipFile, info: zipfile.ZipInfo) -> bytes:
    """Decompress a member with Arrow, which has the codec in every version of Python."""
    import pyarrow as pa

    with open(path, "rb") as handle:
        handle.seek(info.header_offset)
        local = handle.read(30)
        if len(local) < 30 or local[:4] != b"PK\x03\x04":
            raise ValueError("its header is not where the table of contents says")
        handle.seek(int.from_bytes(local[26:28], "little") + int.from_bytes(local[28:30], "little"), 1)
        packed = handle.read(info.compress_size)
    with closing(pa.CompressedInputStream(pa.BufferReader(packed), "zstd")) as stream:
        content: bytes = stream.read(info.file_size + 1)
    return content
