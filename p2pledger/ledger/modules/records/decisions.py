"""Whether a human decided on what a system advised. Floor 4, pure."""

from p2pledger.chain.payloads import RecordAppend
from p2pledger.chain.payloads.bodies import ADMIN_ACT, AI_ADVICE, AiAdvice
from p2pledger.codec import decode
from p2pledger.ledger.modules.records.bodies import shipped_body
from p2pledger.ledger.modules.records.rows import BY_REFERENCE, corrected_by
from p2pledger.ledger.queries import ChainReader, Kept
from p2pledger.types import HASH_BYTES, Hash

REFERRING_MAX = 64
"""Among how many records that refer to an advice an older decision is looked for."""


def is_decided(reader: ChainReader, advice: Hash, last: bytes) -> bool:
    """Whether a decision on an advice stands. `last`: the one that its row in `ADVICE` names, or empty.

    Where the last one was corrected an older one may stand: in the advice itself, or among the first
    REFERRING_MAX records that refer to it, by their ids. What a node has dropped tells of none.
    """
    if not last:
        return False
    if corrected_by(reader, Hash(last)) is None:
        return True
    found, rows = reader.kept(advice), reader.scan(BY_REFERENCE, advice, b"", REFERRING_MAX)
    if found is None or found.record is None:
        return False
    others = [Hash(key[HASH_BYTES:]) for key, _ in rows]
    return any(_decides(reader, one, found.record.organisation) for one in (advice, *others))


def _decides(reader: ChainReader, record_id: Hash, organisation: str) -> bool:
    """Whether a record is a decision of this organisation, and not corrected: as the rule sees it."""
    there = reader.kept(record_id)
    if there is None or there.record is None or there.record.organisation != organisation:
        return False
    is_decision = there.record.schema == ADMIN_ACT or _says_decided(there)
    return is_decision and corrected_by(reader, record_id) is None


def _says_decided(there: Kept) -> bool:
    if there.transaction is None or there.transaction.body.kind != RecordAppend.KIND:
        return False
    payload: RecordAppend = decode(RecordAppend, there.transaction.body.payload)
    if payload.schema != AI_ADVICE or payload.body is None:
        return False
    body = shipped_body(payload.schema, payload.body)
    return isinstance(body, AiAdvice) and body.human_decision is not None
