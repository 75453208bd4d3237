"""Blocks of records: one by one, a batch under its root, corrections. Floor 9."""

from collections.abc import Sequence
from hashlib import sha256

from p2pledger.bench.devices import SCHEMA, Device, record
from p2pledger.bench.modules.turn import Turn
from p2pledger.bench.solo import SPONSOR
from p2pledger.chain.payloads import CorrectionReason, RecordBatch, RecordCorrect
from p2pledger.chain.transaction import Transaction
from p2pledger.types import Hash

BATCH_READINGS = 1_000


def appends(turn: Turn) -> list[Transaction]:
    """A record of each device."""
    ledger, first = turn.ledger, turn.number * (BATCH_READINGS + 1)
    at_ms, expires_ms = ledger.next_round.time_ms, ledger.expires_ms
    return [record(ledger.genesis, device, SPONSOR, first, at_ms, expires_ms) for device in turn.writers]


def batches(turn: Turn) -> list[Transaction]:
    """A batch of each device, which follows the record."""
    first = turn.number * (BATCH_READINGS + 1) + 1
    span = range(first, first + BATCH_READINGS)
    return [turn.of(_batch(turn, device, span), SPONSOR, device.signer) for device in turn.writers]


def corrections(turn: Turn, records: Sequence[Transaction]) -> list[Transaction]:
    """Each device takes its record back."""
    reason = CorrectionReason.INCORRECT_DATA
    return [
        turn.of(RecordCorrect(wrong.id, reason, ()), SPONSOR, device.signer)
        for wrong, device in zip(records, turn.writers, strict=True)
    ]


def _batch(turn: Turn, device: Device, span: range) -> RecordBatch:
    at_ms, root = turn.ledger.next_round.time_ms, Hash(sha256(device.id).digest())
    return RecordBatch(SCHEMA, device.id, span[0], span[-1], len(span), at_ms, at_ms, root)
