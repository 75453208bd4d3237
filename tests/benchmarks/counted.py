"""What each step of a transaction's way costs, in calls of Python and C functions: the same every time.

A block of fixed transactions goes the way of the node's hot path, on a real store. Calls are counted and
not seconds, because machines differ and are shared; what one more call costs is for `p2pledger bench` to say.
"""

import gc
import sys
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

from p2pledger.bench.devices import Device, record
from p2pledger.bench.solo import SPONSOR, Solo, solo
from p2pledger.chain.transaction import Transaction, are_authentic, decode_transactions
from p2pledger.ledger.mempool import Mempool

TRANSACTIONS = 500


def calls(work: Callable[[], object]) -> int:
    """How many functions are called by `work`, itself included."""
    counted = 0

    def note(frame: object, event: str, argument: object) -> None:
        nonlocal counted
        counted += event in ("call", "c_call")

    was_collecting = gc.isenabled()
    gc.disable()  # or a collection's callbacks would be counted, whenever it comes
    sys.setprofile(note)
    try:
        work()
    finally:
        sys.setprofile(None)
        if was_collecting:
            gc.enable()
    return counted


def calls_by_step() -> dict[str, float]:
    """Calls per transaction of each step."""
    _forget()
    with tempfile.TemporaryDirectory() as directory, solo(Path(directory)) as ledger:
        writers = ledger.enrol(TRANSACTIONS, b"counted")
        _walk(ledger, _block(ledger, writers, 0))  # what is done once only is done here
        counted = _walk(ledger, _block(ledger, writers, 1))
    return {step: round(number / TRANSACTIONS, 2) for step, number in counted.items()}


def _forget() -> None:
    """Empty every cache of the package, as after a start: what ran before in this process is not counted."""
    modules = [module for name, module in sys.modules.items() if name.startswith("p2pledger.")]
    for value in [value for module in modules for value in vars(module).values()]:
        if hasattr(value, "cache_clear") and not isinstance(value, type):
            value.cache_clear()


def _block(ledger: Solo, writers: Sequence[Device], seq: int) -> list[bytes]:
    at_ms = ledger.next_round.time_ms
    drawn = (record(ledger.genesis, device, SPONSOR, seq, at_ms, ledger.expires_ms) for device in writers)
    return [
        Transaction(replace(made.body, salt=number.to_bytes(8, "big")), made.signatures).encoded
        for number, made in enumerate(drawn)
    ]


def _walk(ledger: Solo, encoded: Sequence[bytes]) -> dict[str, int]:
    machine, at, (state, frontier) = ledger.machine, ledger.next_round, ledger.parent()
    mempool = Mempool(TRANSACTIONS * 2, 2**30, 500)
    submitted, gossiped = machine.trial(state, at), machine.trial(state, at)
    opened: list[Transaction] = []

    def take() -> None:
        quotas = gossiped.quota_all(opened)
        mempool.add_many(opened, at.time_ms, [mempool.share(SPONSOR, quotas[0])] * len(quotas))

    counted = {"decode": calls(lambda: opened.extend(decode_transactions(encoded)))}
    counted["verify"] = calls(lambda: are_authentic(opened))
    counted["check_form"] = calls(lambda: machine.check_forms(opened))
    counted["dry run"] = calls(lambda: submitted.check_all(opened))
    counted["mempool"] = calls(take)
    waiting = mempool.candidates(TRANSACTIONS, 2**30, 0, at.time_ms, ())
    counted["build"] = calls(lambda: machine.build(state, frontier, at, waiting))
    blocks = []
    counted["execute"] = calls(lambda: blocks.append(ledger.execute(waiting)))
    counted["commit"] = calls(lambda: ledger.commit(blocks[0]))
    return counted
