"""Records between lengths and checksums: what the writers wrote is read, and damage ends the reading where it is."""

from __future__ import annotations

import io
import random
import struct
import zlib
from collections.abc import Callable, Sequence

import pytest

from sfpo_bench.tracking.framed_records import FramedRecords, event_file_records, wandb_file_records

BLOCK, CHUNK = 32768, 7


def event_file(records: Sequence[bytes]) -> bytes:
    """By TensorBoard's own writer."""
    from tensorboard.summary.writer.record_writer import RecordWriter

    buffer = io.BytesIO()
    writer = RecordWriter(buffer)
    for record in records:
        writer.write(record)
    return buffer.getvalue()


def wandb_file(records: Sequence[bytes]) -> bytes:
    """By the description of LevelDB's log: chunks never cross the end of a block."""
    content = b":W&B" + b"\0" * 3
    for record in records:
        first = True
        while first or record:
            room = BLOCK - len(content) % BLOCK
            if room < CHUNK:
                content += b"\0" * room
                room = BLOCK
            part, record = record[: room - CHUNK], record[room - CHUNK :]
            kind = (1 if first else 4) if not record else (2 if first else 3)
            content += struct.pack("<IHB", zlib.crc32(bytes([kind]) + part), len(part), kind) + part
            first = False
    return content


FORMS = [
    pytest.param(event_file, event_file_records, 0, id="event file"),
    pytest.param(wandb_file, wandb_file_records, 7, id="file of W&B"),
]
Writer = Callable[[Sequence[bytes]], bytes]
Reader = Callable[[bytes], FramedRecords]


@pytest.mark.parametrize(("write", "read", "header"), FORMS)
def test_what_was_written_is_read_however_long_it_is(write: Writer, read: Reader, header: int) -> None:
    draw = random.Random(0)
    sizes = [0, 1, 500, BLOCK - CHUNK - header, BLOCK - 3, 3 * BLOCK, 100_000, 8, 2]
    records = [draw.randbytes(size) for size in sizes]
    content = write(records)
    found = read(content)
    assert (list(found.contents), found.whole_to, found.damaged_at) == (records, len(content), None)
    assert found.ends[-1] == len(content) and len(found.ends) == len(records)


@pytest.mark.parametrize(("write", "read", "header"), FORMS)
def test_a_file_cut_anywhere_has_the_records_that_are_whole(write: Writer, read: Reader, header: int) -> None:
    records = [b"one", b"", b"three" * 9, b"4"]
    content = write(records)
    ends = read(content).ends
    for size in range(header, len(content)):
        found = read(content[:size])
        whole = sum(end <= size for end in ends)
        assert (list(found.contents), found.damaged_at) == (records[:whole], None)
        assert (found.whole_to < size) == (size not in (header, *ends))


@pytest.mark.parametrize(("write", "read", "header"), FORMS)
def test_a_changed_byte_ends_the_reading_before_its_record(write: Writer, read: Reader, header: int) -> None:
    records = [b"one", b"two" * 20, b"three"]
    content = write(records)
    ends = read(content).ends
    for at in range(header, len(content)):
        found = read(content[:at] + bytes([content[at] ^ 0x55]) + content[at + 1 :])
        assert list(found.contents) == records[: sum(end <= at for end in ends)]
        assert found.damaged_at is not None or found.whole_to < len(content)


@pytest.mark.parametrize("room", range(10))
def test_a_block_whose_end_has_no_room_for_a_frame_is_padded(room: int) -> None:
    records = [b"x" * (BLOCK - 7 - CHUNK - room), b"two"]
    found = wandb_file_records(wandb_file(records))
    assert list(found.contents) == records and found.damaged_at is None


def test_a_record_that_ends_in_space_of_zeros_was_cut_off() -> None:
    content = wandb_file([b"one", b"two" * BLOCK])
    found = wandb_file_records(content[:BLOCK] + b"\0" * BLOCK)
    assert list(found.contents) == [b"one"] and found.whole_to == found.ends[0]
