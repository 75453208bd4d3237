"""Counts over the data files and over the ledger that share no code with what is judged by them."""

import gzip
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable
from datetime import datetime

from p2pledger.chain.payloads import RecordAppend, RecordBatch
from p2pledger.chain.transaction import Transaction
from p2pledger.codec import decode
from p2pledger.testnet.sources import data_directory


def counted(file: str, interval_s: int, stamp_s: Callable[[str], int]) -> tuple[set[int], int]:
    """The numbers in a data file, and how many rows repeat one. Shares no code with the reader."""
    data = (data_directory() / file).read_bytes()
    lines = (gzip.decompress(data) if file.endswith(".gz") else data).decode().splitlines()[1:]
    seconds = [stamp_s(line.split(",")[0]) for line in lines]
    numbers = Counter((s - seconds[0]) // interval_s for s in seconds)
    return set(numbers), sum(numbers.values()) - len(numbers)


def clock_s(text: str) -> int:
    """Seconds of a naive stamp, counted from a day that does not matter."""
    return round((datetime.fromisoformat(text) - datetime(2000, 1, 1)).total_seconds())


def utc_s(text: str) -> int:
    return round(datetime.fromisoformat(text).timestamp())


def elapsed_s(text: str) -> int:
    hours, minutes, seconds = text.split()[2].split(":")
    return int(hours) * 3600 + int(minutes) * 60 + int(seconds)


FILES = {
    "meter-a": ("meter_halfhourly_a.csv.gz", 1_800, clock_s, 15, 5),
    "meter-b": ("meter_halfhourly_b.csv.gz", 1_800, clock_s, 24, 27),
    "ride": ("ride.csv.gz", 1, elapsed_s, 63, 64),
    "water": ("water_flow.csv", 3_600, utc_s, 0, 10),
}


def numbers_on_the_ledger(transactions: Iterable[Transaction]) -> dict[bytes, list[int]]:
    """Every sequence number of every device, as often as the ledger has it."""
    numbers: dict[bytes, list[int]] = defaultdict(list)
    for transaction in transactions:
        if transaction.body.kind == RecordBatch.KIND:
            batch = decode(RecordBatch, transaction.body.payload)
            numbers[batch.device] += range(batch.from_seq, batch.to_seq + 1)
        elif transaction.body.kind == RecordAppend.KIND:
            record = decode(RecordAppend, transaction.body.payload)
            numbers[record.device].append(record.seq)
    return numbers
