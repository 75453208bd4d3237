"""What these cores could do if nodes did nothing but verify signatures. Floor 9.

In a ledger whose nodes verify everything, n nodes on c cores take at most c / (n t) transactions a
second, where t is the time of one verification. Every figure of a run is held against this one, which is
measured in the same run, because machines differ and are shared.
"""

import os
import time
from concurrent.futures import ProcessPoolExecutor
from itertools import islice
from multiprocessing import get_context
from multiprocessing.synchronize import Barrier

from p2pledger.bench.devices import devices, records
from p2pledger.chain.genesis import Genesis
from p2pledger.chain.transaction import Transaction, are_authentic, decode_transaction
from p2pledger.types import Millis

TRANSACTIONS = 1_000
"""Verified over and over, each of another device."""
MEET_S = 60.0

_worker: tuple[Barrier, list[Transaction]]


def cores() -> int:
    """How many cores this process may run on."""
    return len(os.sched_getaffinity(0))


def verified_per_s(genesis: Genesis, seconds: float) -> float:
    """Transactions a second whose signatures all cores together can verify, one process on each."""
    context, n = get_context("spawn"), cores()
    with ProcessPoolExecutor(n, context, _prepare, (context.Barrier(n), genesis)) as pool:
        return sum(pool.map(_verify, [seconds] * n))


def _prepare(barrier: Barrier, genesis: Genesis) -> None:
    """Decode the transactions as a node does, and have their keys parsed, as a node keeps them."""
    global _worker
    made = islice(records(genesis, devices(TRANSACTIONS), "ceiling", Millis(0)), TRANSACTIONS)
    decoded = [decode_transaction(transaction.encoded) for transaction in made]
    assert all(are_authentic(decoded))
    _worker = barrier, decoded


def _verify(seconds: float) -> float:
    barrier, decoded = _worker
    barrier.wait(MEET_S)
    began_s, count = time.perf_counter(), 0
    while (spent_s := time.perf_counter() - began_s) < seconds:
        count += sum(are_authentic(decoded))  # as nodes do it, and in larger pieces
    return count / spent_s
