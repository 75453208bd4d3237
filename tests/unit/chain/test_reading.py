"""Every reading of a batch can be proved from the batch's root, and no other can."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from p2pledger.chain.payloads import RecordBatch
from p2pledger.chain.reading import Reading, check_reading, prove_reading, readings_root
from p2pledger.errors import InvalidMessage

START_MS = 1_700_000_000_000


def make(count: int, first: int = 7) -> list[Reading]:
    return [Reading(first + n, START_MS + n, (n, -n), bytes([n % 256]) * 16) for n in range(count)]


def batch_of(readings: list[Reading]) -> RecordBatch:
    first, last = readings[0], readings[-1]
    return RecordBatch(
        "sensor.reading/1", bytes(16), first.seq, last.seq, len(readings),
        first.time_ms, last.time_ms, readings_root(readings),
    )  # fmt: skip


@given(st.integers(1, 60), st.data())
def test_every_reading_is_proved_at_its_number_only(count, data):
    readings = make(count)
    batch, one = batch_of(readings), data.draw(st.sampled_from(readings))
    path = prove_reading(readings, one.seq)
    check_reading(one, path, batch)
    for lie in (
        replace(one, values=(one.values[0] + 1, *one.values[1:])),
        replace(one, salt=b"another salt ..."),
        replace(one, time_ms=one.time_ms + 1),
        replace(one, seq=one.seq + 1),
    ):
        with pytest.raises(InvalidMessage):
            check_reading(lie, path, batch)
    for other in (replace(path, index=path.index + 1), replace(path, size=path.size + 1)):
        with pytest.raises(InvalidMessage):
            check_reading(one, other, batch)


def test_the_largest_batch():
    readings = make(4_096)
    batch = batch_of(readings)
    for seq in (7, 2_000, 4_102):
        check_reading(readings[seq - 7], prove_reading(readings, seq), batch)
    with pytest.raises(ValueError):
        readings_root(make(4_097))


def test_readings_stand_by_number_without_a_gap():
    readings = make(5)
    for bad in (readings[::-1], readings[:2] + readings[3:], [readings[0]] * 2, []):
        with pytest.raises(ValueError):
            readings_root(bad)
    for foreign in (6, 12):
        with pytest.raises(IndexError):
            prove_reading(readings, foreign)


def test_a_batch_counts_what_it_holds():
    batch = batch_of(make(5))
    with pytest.raises(ValueError):
        replace(batch, count=4)
    with pytest.raises(ValueError):
        replace(batch, last_ms=batch.first_ms - 1)


def test_the_salt_hides_a_guessable_value():
    one = make(1)[0]
    guesses = {replace(one, values=(value,), salt=bytes(16)).leaf() for value in range(1_000)}
    assert replace(one, values=(500,), salt=b"sixteen secrets!").leaf() not in guesses
