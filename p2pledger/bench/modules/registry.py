"""Blocks of the registry's kinds: keys, gateways, devices, schemas, status lists. Floor 9."""

import gzip
from collections.abc import Iterator
from hashlib import sha256

from p2pledger.bench.devices import enrolment
from p2pledger.bench.modules.turn import Turn
from p2pledger.bench.solo import ORGANISATIONS, SPONSOR, admin, gateway, gateway_peer, unsigned_devices
from p2pledger.chain.genesis import KeyRole
from p2pledger.chain.invite import InviteTerms, sign_invite
from p2pledger.chain.payloads import (
    DeviceRetire,
    DeviceTransfer,
    GatewayJoin,
    KeyAdd,
    KeyRevoke,
    KeyRotate,
    RevocationReason,
    SchemaField,
    SchemaPublish,
    StatusPublish,
    StatusPurpose,
)
from p2pledger.chain.schema import FieldClass, SchemaClass
from p2pledger.chain.transaction import Transaction
from p2pledger.crypto import Signer
from p2pledger.ledger.modules.registry.status import STATUS_BITS_MIN
from p2pledger.types import ZERO_HASH, Height, Millis, PeerId

OTHER = ORGANISATIONS[1]
_BITS = gzip.compress(bytes(STATUS_BITS_MIN // 8), mtime=0)


def kinds(turn: Turn) -> Iterator[list[Transaction]]:
    """A block of each kind, each to be stored before the next is asked for."""
    old, new = turn.keys("old"), turn.keys("new")
    yield [turn.by_admin(KeyAdd(k.public_key, KeyRole.SERVICE, None, Height(0)), k) for k in old]
    pairs = zip(old, new, strict=True)
    yield [turn.by_admin(KeyRotate(a.public_key, b.public_key, None, Height(0)), b) for a, b in pairs]
    reason = RevocationReason.SUPERSEDED
    yield [turn.by_admin(KeyRevoke(k.public_key, reason, Height(0))) for k in new]
    yield [_join(turn, i, key) for i, key in enumerate(turn.keys("gateway"))]
    yield from _device_kinds(turn)
    yield [turn.by_admin(_schema(turn, i)) for i in range(turn.count)]
    lists = [turn.id("list", i) for i in range(turn.count)]
    yield [turn.by_admin(StatusPublish(one, 1, StatusPurpose.REVOCATION, _BITS)) for one in lists]


def _device_kinds(turn: Turn) -> Iterator[list[Transaction]]:
    new = unsigned_devices(turn.count, b"turn %d" % turn.number)
    ledger, at, peer = turn.ledger, gateway(SPONSOR), gateway_peer(SPONSOR)
    yield [enrolment(ledger.genesis, d, SPONSOR, peer, at, ledger.expires_ms) for d in new]
    peer = gateway_peer(OTHER)
    yield [turn.of(DeviceTransfer(d.id, peer, ZERO_HASH), OTHER, gateway(OTHER), d.signer) for d in new]
    yield [turn.of(DeviceRetire(d.id, ZERO_HASH), OTHER, gateway(OTHER), d.signer) for d in new]


def _join(turn: Turn, number: int, key: Signer) -> Transaction:
    issuer, peer = admin(SPONSOR), PeerId(turn.id("peer", number))
    terms = InviteTerms(
        id=sha256(peer.encode()).digest()[:16],
        organisation=SPONSOR,
        role=KeyRole.GATEWAY,
        expires_ms=Millis(turn.ledger.expires_ms),
        uses=1,
        genesis_hash=turn.ledger.genesis.hash,
        issuer=issuer.public_key,
    )
    return turn.of(GatewayJoin(key.public_key, peer, sign_invite(terms, issuer)), SPONSOR, key)


def _schema(turn: Turn, number: int) -> SchemaPublish:
    """The first version of a schema, whose name has letters only."""
    words = ("".join("abcdefghij"[int(digit)] for digit in str(one)) for one in (turn.number, number))
    fields = tuple(SchemaField(f"field_{i}", FieldClass.PUBLIC) for i in range(8))
    return SchemaPublish(".".join(("bench", *words)) + "/1", SchemaClass.PUBLIC, ZERO_HASH, fields)
