"""Status lists of credentials: one bit each, published in a fixed cadence. Floor 4, pure.

A credential goes from a wallet to a verifier and never over the ledger; what stands here is only whether it
holds, among so many others that a look at the list tells nobody whose it was (W3C Bitstring Status List 1.0).
The state keeps where the newest bits are, not the bits. Invariants: versions follow one by one, at most one
in a slot; purpose and length of a list stay as they were at first.
"""

import zlib
from dataclasses import dataclass

from p2pledger.chain.authority import OrganisationId
from p2pledger.chain.genesis import KeyRole
from p2pledger.chain.payloads.registry import StatusPublish, StatusPurpose
from p2pledger.codec import U32, U64, encode
from p2pledger.errors import Code, InvalidTransaction
from p2pledger.ledger.modules.registry.rows import signed_in_role
from p2pledger.ledger.rules import Context, Rule
from p2pledger.ledger.state import Changes, Readable, Table
from p2pledger.types import Hash, Millis

STATUS_BITS_MIN = 131_072
"""The herd that a credential hides in: the standard's least (section 4.1)."""
STATUS_BITS_MAX = 1_048_576
STATUS_SLOT_MS = 3_600_000
"""A list is published once in each such slice of block time."""

_GZIP_HEAD = b"\x1f\x8b\x08\x00"
"""Of a member without a file's name, a comment or anything else beside its content."""


@dataclass(frozen=True)
class StatusList:
    """The newest version of a list. Its bits are in the transaction `by`."""

    version: U32
    purpose: StatusPurpose
    bits: U32
    slot: U64
    """When it was published: block time divided by STATUS_SLOT_MS."""
    missed: U32
    """In how many slots since the first one nothing was published: the issuer's cadence, for all to see."""
    by: Hash

    def is_stale(self, time_ms: Millis) -> bool:
        """Whether a whole slot has gone by since without a version."""
        return time_ms // STATUS_SLOT_MS > self.slot + 1


STATUS_LISTS = Table("status-list", StatusList)

STATUS_INDEX = "registry.status"
"""organisation | 0 | list id -> its encoded `StatusList`."""


def status_key(organisation: OrganisationId, list_id: str) -> bytes:
    """The key of a list, in the state and in the index."""
    return organisation.encode() + b"\0" + list_id.encode()


def status_list(reader: Readable, organisation: OrganisationId, list_id: str) -> StatusList | None:
    """The newest version of an issuer's list."""
    return STATUS_LISTS.get(reader, status_key(organisation, list_id))


def bits_of(compressed: bytes) -> bytes:
    """The bits of a list, eight to a byte, of whose bits the highest is the first.

    Never more than STATUS_BITS_MAX are unpacked, however many there are. Raises: InvalidTransaction.
    """
    if not compressed.startswith(_GZIP_HEAD):
        raise InvalidTransaction(Code.STATUS_BITS, "not GZIP with the content alone")
    inflating, most = zlib.decompressobj(wbits=16 + zlib.MAX_WBITS), STATUS_BITS_MAX // 8
    try:
        bits = inflating.decompress(compressed, most + 1)
    except zlib.error:
        raise InvalidTransaction(Code.STATUS_BITS, "the bits do not unpack") from None
    if len(bits) > most:
        raise InvalidTransaction(Code.STATUS_BITS, f"more than {STATUS_BITS_MAX} bits")
    if not inflating.eof or inflating.unused_data:
        raise InvalidTransaction(Code.STATUS_BITS, "the bits do not end where the payload does")
    if len(bits) * 8 < STATUS_BITS_MIN:
        raise InvalidTransaction(Code.STATUS_BITS, f"fewer than {STATUS_BITS_MIN} bits")
    return bits


def apply_status_publish(changes: Changes, context: Context, payload: StatusPublish) -> bytes:
    """The next version of the sponsor's list, in a slot that has none yet."""
    key, slot = status_key(context.sponsor, payload.list_id), context.round.time_ms // STATUS_SLOT_MS
    before, missed = STATUS_LISTS.get(changes, key), 0
    version = 1 if before is None else before.version + 1
    if payload.version != version:
        raise InvalidTransaction(Code.STATUS_VERSION, f"the next version is {version}")
    if before is not None and slot <= before.slot:
        wait_ms = STATUS_SLOT_MS - context.round.time_ms % STATUS_SLOT_MS
        raise InvalidTransaction(Code.STATUS_TOO_EARLY, f"the next slot begins in {wait_ms} ms")
    bits = len(bits_of(payload.compressed)) * 8
    if before is not None:
        if (payload.purpose, bits) != (before.purpose, before.bits):
            raise InvalidTransaction(
                Code.STATUS_CHANGED, f"the list has {before.bits} bits, for {before.purpose.name.lower()}"
            )
        missed = before.missed + slot - before.slot - 1
    row = StatusList(version, payload.purpose, bits, slot, missed, context.transaction_id)
    STATUS_LISTS.put(changes, key, row)
    context.emit(STATUS_INDEX, key, encode(row))
    return b""


RULES = (Rule(StatusPublish, signed_in_role(KeyRole.ADMIN, KeyRole.SERVICE), apply_status_publish),)
