"""A kept reading can be proved from its batch alone, later and by anyone."""

import sqlite3
from pathlib import Path

import pytest
from p2pledger.chain.payloads import RecordBatch
from p2pledger.chain.reading import EncodedReadings, Reading, check_reading, readings_root
from p2pledger.client.readings import ReadingsFile
from p2pledger.errors import InvalidMessage
from p2pledger.types import Hash, Millis

DEVICE, OTHER = b"d" * 16, b"e" * 16


def some(first: int, count: int) -> list[Reading]:
    return [Reading(n, Millis(n), (n * n,), bytes([n % 256]) * 16) for n in range(first, first + count)]


def batch_of(readings: list[Reading]) -> RecordBatch:
    first, last = readings[0], readings[-1]
    return RecordBatch(
        schema="sensor.reading/1",
        device=DEVICE,
        from_seq=first.seq,
        to_seq=last.seq,
        count=len(readings),
        first_ms=first.time_ms,
        last_ms=last.time_ms,
        root=readings_root(readings),
    )


def test_every_kept_reading_is_proved_from_its_root_after_the_file_was_closed(tmp_path: Path) -> None:
    batches = [some(0, 5), some(5, 3), some(20, 1)]
    file = ReadingsFile(tmp_path / "readings.db")
    file.keep(
        [(Hash(bytes([n]) * 32), DEVICE, EncodedReadings.of(readings)) for n, readings in enumerate(batches)]
    )
    file.close()
    file = ReadingsFile(tmp_path / "readings.db")
    for n, readings in enumerate(batches):
        for reading in readings:
            transaction_id, kept, path = file.prove(DEVICE, reading.seq)
            assert (transaction_id, kept) == (bytes([n]) * 32, reading)
            check_reading(kept, path, batch_of(readings))
            with pytest.raises(InvalidMessage):
                check_reading(kept, path, batch_of(batches[n - 1]))
    assert file.count() == 9
    file.close()


def test_what_was_never_kept_cannot_be_proved(tmp_path: Path) -> None:
    file = ReadingsFile(tmp_path / "readings.db")
    file.keep([(Hash(bytes(32)), DEVICE, EncodedReadings.of(some(0, 2)))])
    file.keep([(Hash(bytes(32)), DEVICE, EncodedReadings.of(some(7, 2)))])
    for device, seq in [(DEVICE, 2), (DEVICE, 6), (DEVICE, 9), (OTHER, 0)]:
        with pytest.raises(KeyError):
            file.prove(device, seq)
    file.close()


def test_a_batch_signed_anew_is_proved_from_its_new_transaction(tmp_path: Path) -> None:
    file = ReadingsFile(tmp_path / "readings.db")
    file.keep([(Hash(bytes(32)), DEVICE, EncodedReadings.of(some(0, 2)))])
    assert file.prove(DEVICE, 1)[0] == bytes(32)
    file.keep([(Hash(b"n" * 32), DEVICE, EncodedReadings.of(some(0, 2)))])
    assert file.prove(DEVICE, 1)[0] == b"n" * 32
    assert file.count() == 2
    file.close()


def test_several_batches_are_kept_together_or_not_at_all(tmp_path: Path) -> None:
    file = ReadingsFile(tmp_path / "readings.db")
    unkept = EncodedReadings(5, [b""] * 2)
    with pytest.raises(sqlite3.IntegrityError):
        file.keep([(Hash(bytes(32)), DEVICE, EncodedReadings.of(some(0, 2))), (None, DEVICE, unkept)])
    assert file.count() == 0
    file.keep([(Hash(bytes(32)), DEVICE, EncodedReadings.of(some(0, 2)))])
    assert file.count() == 2
    file.close()
