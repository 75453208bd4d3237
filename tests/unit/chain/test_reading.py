"""Every reading of a batch can be proved from the batch's root, and no other can."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from p2pledger.chain.payloads import RecordBatch
from p2pledger.chain.reading import EncodedReadings, Reading, check_reading, prove_reading, readings_root
from p2pledger.codec import encode
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


EDGES = [0, 23, 24, 255, 256, 2**16 - 1, 2**16, 2**32 - 1, 2**32, 2**63 - 1]
INTEGERS = st.one_of(st.integers(-(2**63), 2**63 - 1), st.sampled_from(EDGES + [-1 - edge for edge in EDGES]))
COLUMNS = st.integers(1, 12).flatmap(
    lambda count: st.tuples(
        st.one_of(st.integers(0, 2**63 - count), st.sampled_from([0, 20, 250, 2**16 - 4, 2**32 - 4])),
        st.lists(st.integers(0, 2**64 - 1), min_size=count, max_size=count),
        st.lists(st.lists(INTEGERS, min_size=count, max_size=count), min_size=1, max_size=16),
        st.binary(min_size=16 * count, max_size=16 * count),
    )
)


@given(COLUMNS)
def test_readings_from_columns_are_encoded_as_each_by_itself(columns):
    from_seq, times_ms, values, salts = columns
    readings = [
        Reading(from_seq + n, time_ms, tuple(column[n] for column in values), salts[16 * n : 16 * n + 16])
        for n, time_ms in enumerate(times_ms)
    ]
    made = EncodedReadings.of_columns(*columns)
    assert list(made.encoded) == [encode(reading) for reading in readings]
    assert made == EncodedReadings.of(readings) and made.root == readings_root(readings)
    assert [made.reading(reading.seq) for reading in readings] == readings
    for reading in readings:
        assert made.path(reading.seq).root(reading.leaf()) == made.root


def test_columns_that_are_no_readings_are_refused():
    good = (7, [1, 2], [[3, 4]], bytes(32))
    assert len(EncodedReadings.of_columns(*good).encoded) == 2
    for at, bad in [
        (0, -1), (0, 2**63 - 1), (0, True), (1, []), (1, [1]), (1, [-1, 2]), (1, [1, 2**64]), (1, [True, 2]),
        (2, []), (2, [[3]]), (2, [[3, 4]] * 17), (2, [[3, 2**63]]), (2, [[-(2**63) - 1, 4]]), (2, [[3, 4.0]]),
        (3, bytes(31)), (3, bytes(33)),
    ]:  # fmt: skip
        with pytest.raises(ValueError):
            EncodedReadings.of_columns(*good[:at], bad, *good[at + 1 :])
    with pytest.raises(IndexError):
        EncodedReadings.of_columns(*good).reading(6)
