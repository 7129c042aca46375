"""Reads the records of TensorBoard's event files and of W&B's files: content between lengths and checksums.

Both packages write these forms and ship no reader that says where a file is damaged or cut off.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Sequence
from dataclasses import dataclass

_LENGTH, _CRC = struct.Struct("<QI"), struct.Struct("<I")
_HEADER_BYTES, _BLOCK_BYTES, _CHUNK = 7, 32768, struct.Struct("<IHB")
_WHOLE, _FIRST, _LAST = 1, 2, 4


@dataclass(frozen=True, slots=True)
class FramedRecords:
    """The whole records of a file up to its first damage, and the byte where each ends.

    `damaged_at` is the byte of a record whose checksum differs. Without one, a file that is longer than `whole_to` ends
    inside a record.
    """

    contents: Sequence[bytes]
    ends: Sequence[int]
    whole_to: int
    damaged_at: int | None = None


def event_file_records(content: bytes) -> FramedRecords:
    """Return the records of an event file: length, checksum of the length, content, checksum of the content."""
    from tensorboard.compat.tensorflow_stub.pywrap_tensorflow import masked_crc32c

    contents, ends, at = list[bytes](), list[int](), 0
    while at + _LENGTH.size <= len(content):
        start = at + _LENGTH.size
        length, crc = _LENGTH.unpack(content[at:start])
        if masked_crc32c(content[at : at + 8]) != crc:
            return FramedRecords(contents, ends, at, damaged_at=at)
        end = start + length
        if end + _CRC.size > len(content):
            break
        if masked_crc32c(content[start:end]) != _CRC.unpack(content[end : end + _CRC.size])[0]:
            return FramedRecords(contents, ends, at, damaged_at=at)
        at = end + _CRC.size
        contents.append(content[start:end])
        ends.append(at)
    return FramedRecords(contents, ends, at)


def wandb_file_records(content: bytes) -> FramedRecords:
    """Return the records of a file `run-ID.wandb`, framed as LevelDB's log.

    A header of 7 bytes, then blocks of 32 KiB with chunks of (CRC32 of type and content, length, type, content). A
    record that does not fit is split into a first, middle and last chunk.
    """
    contents, ends, parts = list[bytes](), list[int](), b""
    at = whole_to = _HEADER_BYTES
    while at < len(content):
        room = _BLOCK_BYTES - at % _BLOCK_BYTES
        if room < _CHUNK.size or (len(content) - at >= _CHUNK.size and content[at + 6] == 0):
            at += room  # padding at the end of a block, or preallocated space
            whole_to = at if not parts else whole_to
            continue
        start = at + _CHUNK.size
        if start > len(content):
            break
        crc, length, kind = _CHUNK.unpack(content[at:start])
        if start + length > len(content):
            break
        chunk = content[start : start + length]
        if zlib.crc32(bytes([kind]) + chunk) != crc:
            return FramedRecords(contents, ends, whole_to, damaged_at=at)
        parts = chunk if kind in (_WHOLE, _FIRST) else parts + chunk
        at = start + length
        if kind in (_WHOLE, _LAST):
            contents.append(parts)
            ends.append(at)
            parts, whole_to = b"", at
    return FramedRecords(contents, ends, whole_to)
