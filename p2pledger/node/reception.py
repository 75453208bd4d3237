"""What a node answers to a machine that wants to join. Floor 6.

Whoever asks shows an invite with every request: one that an admin of the ledger signed, that has not ended
and that nobody else came in on. Then it is told what it needs to prove where the chain stands, and its one
transaction is taken. Everybody else is turned away with a code.
"""

from collections.abc import AsyncGenerator, Callable, Sequence
from dataclasses import replace

from p2pledger.chain.block import FinalBlock
from p2pledger.chain.genesis import Genesis
from p2pledger.chain.invite import Invite
from p2pledger.chain.joining import (
    GENESIS_PART_BYTES,
    BoundariesRequest,
    GenesisPart,
    GenesisRequest,
    HeadRequest,
    JoinReply,
    Knock,
    Proof,
    ProofRequest,
    Submission,
    Taken,
    TurnedAway,
)
from p2pledger.chain.payloads import GatewayJoin
from p2pledger.chain.transaction import Body, Outcome, Transaction, decode_transaction
from p2pledger.codec import decode, encode
from p2pledger.crypto import is_signed
from p2pledger.errors import Code, InvalidMessage, InvalidTransaction
from p2pledger.ledger.modules.registry import check_invite, gateway_on_invite
from p2pledger.ledger.rules import Round
from p2pledger.node.pool import Pool
from p2pledger.storage.store import Store
from p2pledger.types import Epoch, Height, Millis, PeerId

HEAD_BLOCKS = 16
"""How far below the tip a block with a certificate of its own is looked for."""

WAIT_MS = 5_000
"""How long one request for a proof waits for the transaction to end."""

MESSAGE_BYTES_MAX = 512
UNKNOWN_TRANSACTION = "unknown_transaction"


class Reception:
    """Judges invites and answers requests. `spread` has a transaction that was taken gossiped."""

    def __init__(self, genesis: Genesis, store: Store, pool: Pool, now: Callable[[], Millis]) -> None:
        self.spread: Callable[[Sequence[Transaction]], None] = lambda transactions: None
        self._genesis, self._store, self._pool, self._now = genesis, store, pool, now

    async def answers(self, peer: PeerId, knock: Knock) -> AsyncGenerator[JoinReply, None]:
        """The replies to one request, in order. Raises: InvalidMessage for what no honest machine says."""
        try:
            self._check(peer, knock.invite)
        except InvalidTransaction as error:
            yield _turned_away(error.code, error.message)
            return
        match knock.wish:
            case GenesisRequest(from_part):
                encoded = encode(self._genesis)
                for start in range(from_part * GENESIS_PART_BYTES, len(encoded), GENESIS_PART_BYTES):
                    yield GenesisPart(encoded[start : start + GENESIS_PART_BYTES])
            case BoundariesRequest(from_epoch, count):
                for epoch in range(from_epoch, from_epoch + count):
                    if (boundary := self._store.boundary(Epoch(epoch))) is None:
                        return
                    yield boundary
            case HeadRequest(from_height):
                if (head := self._head(from_height)) is not None:
                    yield head
            case Submission(encoded):
                yield await self._take(peer, knock.invite, encoded)
            case ProofRequest():
                yield await self._proof(peer, knock.wish)

    def _check(self, peer: PeerId, invite: Invite) -> None:
        """Raises: InvalidTransaction; InvalidMessage for a signature that is not its issuer's."""
        if not is_signed(*invite.signed):
            raise InvalidMessage("an invite whose signature is false", code="bad_signature")
        tip = self._store.tip()
        epoch = tip.header.epoch if tip.header is not None else Epoch(0)
        at = Round(epoch, Height(tip.height + 1), self._now())
        if gateway_on_invite(self._store, invite, at.height) == peer:
            return  # it has come in and does not know yet
        check_invite(self._store, self._genesis, at, invite)

    def _head(self, from_height: Height) -> FinalBlock | None:
        tip = self._store.tip().height
        for height in range(tip, max(from_height - 1, tip - HEAD_BLOCKS, 0), -1):
            block = self._store.block(Height(height))
            if block is not None and block.certificate is not None:
                return block
        return None

    async def _take(self, peer: PeerId, invite: Invite, encoded: bytes) -> JoinReply:
        transaction = decode_transaction(encoded)
        if _join_of(transaction.body) != (peer, invite):
            raise InvalidMessage("a stranger hands in its own joining only")
        (answer,) = await self._pool.submit([encoded])
        if isinstance(answer, Transaction):
            self.spread([answer])
            return Taken(answer.id)
        if isinstance(answer, InvalidTransaction):
            return _turned_away(answer.code, answer.message)
        return _turned_away(answer.code, str(answer))

    async def _proof(self, peer: PeerId, wish: ProofRequest) -> JoinReply:
        fate = await self._pool.wait(wish.transaction_id, WAIT_MS)
        receipt = self._store.receipt(wish.transaction_id) if fate.outcome is Outcome.FINAL else None
        if receipt is not None:
            joined = _join_of(decode_transaction(receipt.transaction).body)
            if joined is None or joined[0] != peer:
                raise InvalidMessage("a stranger asks for the proof of its own joining only")
            return Proof(replace(receipt, boundaries=()))
        if fate.outcome is Outcome.REFUSED and fate.code is not None:
            return _turned_away(fate.code, fate.message or "")
        if fate.outcome is Outcome.EXPIRED:
            return _turned_away(Code.EXPIRED, "the transaction did not become final in time")
        if fate.outcome is Outcome.UNKNOWN:
            return TurnedAway(UNKNOWN_TRANSACTION, "the node knows no such transaction")
        return Taken(wish.transaction_id)


def _turned_away(code: str, message: str) -> TurnedAway:
    return TurnedAway(str(code), message.encode()[:MESSAGE_BYTES_MAX].decode(errors="ignore"))


def _join_of(body: Body) -> tuple[PeerId, Invite] | None:
    """Who joins by this transaction, and with what; None when it is of another kind."""
    if body.kind != GatewayJoin.KIND:
        return None
    payload: GatewayJoin = decode(GatewayJoin, body.payload)
    return payload.peer, payload.invite
