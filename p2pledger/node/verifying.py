"""Verifying the signatures of transactions, in batches off the event loop. Floor 6."""

import os
from collections.abc import Mapping, Sequence

import trio

from p2pledger.chain.transaction import Transaction, is_authentic
from p2pledger.crypto import Signed, is_signed
from p2pledger.ledger.machine import Machine
from p2pledger.metrics import Metrics
from p2pledger.types import Hash

INLINE_MAX = 16
"""So few signatures are verified where they stand: handing them to a thread costs more."""

_verifiers = trio.CapacityLimiter(max(1, os.cpu_count() or 1))


async def authentic(transactions: Sequence[Transaction], machine: Machine, metrics: Metrics) -> list[bool]:
    """Which of these are signed by all their signers; verified on other threads when they are many.

    What others have signed inside their payloads is verified with it, and `machine` is told what holds. What
    does not hold is for its rule to refuse, with a code of its own.
    """
    started = trio.current_time()
    inside = machine.signed_inside(transactions)
    if len(transactions) + len(inside) <= INLINE_MAX:
        verdicts, proven = _verify(transactions, inside, metrics)
    else:
        verdicts, proven = await trio.to_thread.run_sync(
            _verify, transactions, inside, metrics, limiter=_verifiers
        )
    machine.note_proven(proven)
    metrics.signature_verify_seconds.observe(trio.current_time() - started)
    return verdicts


def _verify(
    transactions: Sequence[Transaction], inside: Mapping[Hash, Signed], metrics: Metrics
) -> tuple[list[bool], list[Hash]]:
    with metrics.spending("verify"):
        verdicts = [is_authentic(transaction, is_signed) for transaction in transactions]
        good = {one.id for one, is_good in zip(transactions, verdicts, strict=True) if is_good}
        # A forger's work is not done for it: what its own signatures do not hold for is looked at no further.
        return verdicts, [id_ for id_, signed in inside.items() if id_ in good and is_signed(*signed)]
