"""What stays known of a record for good. Floor 4, pure.

A record never changes, so nothing of it stands in the state: it is what the chain holds under the id of
its transaction. The tree of results proves that it is there, the id covers what it says, and the state
stays as small as what can change (docs/decisions/ledger.md).
"""

from dataclasses import dataclass

from p2pledger.chain.authority import OrganisationId
from p2pledger.chain.payloads import DeviceId, RecordAppend, RecordBatch
from p2pledger.chain.schema import SchemaId
from p2pledger.chain.transaction import Transaction
from p2pledger.codec import decode
from p2pledger.types import Height, Millis


@dataclass(frozen=True)
class Record:
    """A record. `device` is its author, if any; `time_ms` is the event's time, the first one of a batch."""

    schema: SchemaId
    organisation: OrganisationId
    device: DeviceId | None
    time_ms: Millis
    height: Height


def record_of(transaction: Transaction, height: Height) -> Record | None:
    """The record that a transaction of the block at this height made; None when it is of another kind.

    The transaction has been executed, so its payload decodes.
    """
    body = transaction.body
    match body.kind:
        case RecordAppend.KIND:
            one: RecordAppend = decode(RecordAppend, body.payload)
            return Record(one.schema, body.sponsor, one.device, one.time_ms, height)
        case RecordBatch.KIND:
            many: RecordBatch = decode(RecordBatch, body.payload)
            return Record(many.schema, body.sponsor, many.device, many.first_ms, height)
    return None
