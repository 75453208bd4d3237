"""Verifying the signatures of transactions, in batches off the event loop. Floor 6."""

import os
from collections.abc import Sequence

import trio

from p2pledger.chain.transaction import Transaction, is_authentic
from p2pledger.crypto import is_signed
from p2pledger.metrics import Metrics

INLINE_MAX = 16
"""So few signatures are verified where they stand: handing them to a thread costs more."""

_verifiers = trio.CapacityLimiter(max(1, os.cpu_count() or 1))


async def authentic(transactions: Sequence[Transaction], metrics: Metrics) -> list[bool]:
    """Which of these are signed by all their signers; verified on other threads when they are many."""
    started = trio.current_time()
    if len(transactions) <= INLINE_MAX:
        verdicts = _verify(transactions, metrics)
    else:
        verdicts = await trio.to_thread.run_sync(_verify, transactions, metrics, limiter=_verifiers)
    metrics.signature_verify_seconds.observe(trio.current_time() - started)
    return verdicts


def _verify(transactions: Sequence[Transaction], metrics: Metrics) -> list[bool]:
    with metrics.spending("verify"):
        return [is_authentic(transaction, is_signed) for transaction in transactions]
