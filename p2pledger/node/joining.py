"""A machine joins a ledger with one string. Floor 6.

It knocks at the nodes that the string names, takes the genesis whose hash an admin signed, proves from it
who decides now, hands in its `gateway.join`, and believes that it has joined once it holds the receipt. No
node is trusted: one that tells anything else is left for the next.

The transaction is kept in the home before it is sent, so that a machine that is interrupted goes on with the
same one: an invite lets one gateway in, and that shall not be a key that is lost. It is kept once it has
expired as well: a node that does not know of it may only lag.
"""

from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Any

import trio

from p2pledger.chain.authority import AuthoritySet
from p2pledger.chain.block import Boundary, FinalBlock
from p2pledger.chain.genesis import Genesis
from p2pledger.chain.invite import Invitation
from p2pledger.chain.joining import (
    GENESIS_PART_BYTES,
    GENESIS_PARTS_MAX,
    BoundariesRequest,
    GenesisPart,
    GenesisRequest,
    HeadRequest,
    JoinReply,
    JoinWish,
    Knock,
    Proof,
    ProofRequest,
    Submission,
    Taken,
    TurnedAway,
)
from p2pledger.chain.payloads import GatewayJoin
from p2pledger.chain.receipt import check_final, check_receipt, proven_sets
from p2pledger.chain.transaction import (
    TRANSACTION_BYTES_MAX,
    TRANSACTION_VERSION,
    Body,
    Transaction,
    decode_transaction,
)
from p2pledger.codec import Length, decode, encode
from p2pledger.crypto import Signer, is_signed
from p2pledger.errors import Code, InvalidMessage
from p2pledger.network.host import peer_id_of
from p2pledger.network.seam import Unreachable
from p2pledger.network.visit import Visit, visiting
from p2pledger.types import Epoch, Height, Millis, PeerId

ASK_MS = 20_000
PAGE_EPOCHS = 64
PAUSE_S = 1.0
"""Between one round of the nodes and the next."""

PROOF_PAUSE_S = 0.25
PATIENCE_S = 15.0
"""How long one node that took the transaction has to prove that it is final. It may be cut off from
the others, or lie; the next one is handed the same."""

SALT_BYTES = 8
KEPT_MAX = 8
"""How many transactions are asked after: the last ones made, each when the one before had expired."""


class CannotJoin(Exception):
    """Nobody let the machine in. The message says what each node answered."""

    def __init__(self, message: str, code: str | None = None) -> None:
        super().__init__(message)
        self.code = code
        """The code of the refusal; None when no node could be talked to."""


class _Refused(Exception):
    """A node turned the machine away."""

    def __init__(self, reply: TurnedAway) -> None:
        super().__init__(f"{reply.code}: {reply.message}")
        self.code = reply.code


_PASSING = {Code.TOO_MANY_PENDING, "mempool_full", "too_busy", Code.OVER_QUOTA, "unknown_transaction"}
"""Refusals that waiting mends."""


@dataclass(frozen=True)
class Kept:
    """The file of what was sent so far, the oldest first. A node that does not know one of them may lag."""

    transactions: Annotated[
        tuple[Annotated[bytes, Length(1, TRANSACTION_BYTES_MAX)], ...], Length(1, KEPT_MAX)
    ]


@dataclass(frozen=True)
class Joined:
    """What is proven once the machine is a gateway. `height` is the block that its joining is in."""

    genesis: Genesis
    height: Height
    sets: tuple[AuthoritySet, ...]
    """The authority lists of the epoch of that proof and of the next."""


class Joiner:
    """One machine on its way in. `kept` is where its transaction is written before it is sent."""

    def __init__(
        self, invitation: Invitation, seed: bytes, signer: Signer, kept: Path, now: Callable[[], Millis]
    ) -> None:
        self._invitation, self._seed, self._signer = invitation, seed, signer
        self._kept, self._now = kept, now
        self._genesis: Genesis | None = None
        self._boundaries: list[Boundary] = []
        self._made = _kept_transactions(kept, invitation, signer)

    @property
    def peer(self) -> PeerId:
        """Who it is on the network."""
        return peer_id_of(self._seed)

    async def run(self, timeout_s: float) -> Joined:
        """Go round the nodes until one lets it in and proves so. Raises: CannotJoin."""
        answers: dict[str, str] = {}
        with trio.move_on_after(timeout_s):
            while True:
                refusals: list[_Refused] = []
                for address in self._invitation.addresses:
                    found = await self._try(address)
                    if isinstance(found, Joined):
                        return found
                    answers[address] = str(found)
                    if isinstance(found, _Refused) and found.code not in _PASSING:
                        refusals.append(found)
                # One that lags may not know the admin yet; where none takes it, waiting does not mend it.
                if len(refusals) == len(self._invitation.addresses):
                    raise CannotJoin(_told(answers), refusals[0].code)
                await trio.sleep(PAUSE_S)
        raise CannotJoin(_told(answers) or f"no node answered within {timeout_s:.0f} s")

    async def _try(self, address: str) -> Joined | Exception:
        """What came of one node; not raised, since a nursery would wrap it."""
        found: Joined | Exception = Unreachable("it was not asked")
        try:
            async with visiting(self._seed, address) as visit:
                try:
                    found = await self._go_through(visit)
                except (Unreachable, InvalidMessage, _Refused) as error:
                    found = error
        except Unreachable as error:
            return error
        return found

    async def _go_through(self, visit: Visit) -> Joined:
        genesis = await self._bring_genesis(visit)
        await self._prove_head(visit, genesis)
        for earlier in self._made:  # one of them may have come in already
            with suppress(_Refused):
                reply = await self._one(visit, ProofRequest(earlier.id))
                if isinstance(reply, Proof):
                    return await self._check_proof(visit, genesis, earlier, reply)
        transaction = self._made[-1] if self._made else None
        if transaction is None or transaction.body.expires_ms < self._now():
            transaction = self._make(genesis)
        try:
            await self._one(visit, Submission(transaction.encoded))
        except _Refused as refused:
            if refused.code != Code.REPLAYED:
                raise
        with trio.move_on_after(PATIENCE_S):
            while True:
                reply = await self._one(visit, ProofRequest(transaction.id))
                if isinstance(reply, Proof):
                    return await self._check_proof(visit, genesis, transaction, reply)
                await trio.sleep(PROOF_PAUSE_S)
        raise Unreachable(
            f"it took the transaction, and did not prove within {PATIENCE_S} s that it is final"
        )

    async def _bring_genesis(self, visit: Visit) -> Genesis:
        if self._genesis is None:
            parts: list[bytes] = []
            for reply in await self._ask(visit, GenesisRequest(0)):
                if not isinstance(reply, GenesisPart) or len(parts) == GENESIS_PARTS_MAX:
                    raise InvalidMessage("no genesis")
                parts.append(reply.data)
            if any(len(part) != GENESIS_PART_BYTES for part in parts[:-1]):
                raise InvalidMessage("a genesis in pieces of another size")
            genesis: Genesis = decode(Genesis, b"".join(parts))
            if genesis.hash != self._invitation.invite.terms.genesis_hash:
                raise InvalidMessage("the genesis of another ledger than the invite's")
            self._genesis = genesis
        return self._genesis

    async def _prove_head(self, visit: Visit, genesis: Genesis) -> None:
        """Hold the node's newest block against the list that reigns by the ends of all epochs before."""
        replies = await self._ask(visit, HeadRequest(Height(1)))
        if not replies:
            return
        (head,) = replies
        if not isinstance(head, FinalBlock) or head.certificate is None:
            raise InvalidMessage("no block with a certificate")
        sets = await self._bring_sets(visit, genesis, head.header.epoch)
        check_final(head.header, head.certificate, genesis.hash, sets[head.header.epoch], is_signed)

    async def _bring_sets(self, visit: Visit, genesis: Genesis, epoch: Epoch) -> tuple[AuthoritySet, ...]:
        """The proven lists up to the one after an epoch's. What one node has proven the next one need not."""
        while (known := len(self._boundaries)) < epoch:
            wish = BoundariesRequest(Epoch(known), min(PAGE_EPOCHS, epoch - known))
            page = [reply for reply in await self._ask(visit, wish) if isinstance(reply, Boundary)]
            if not page or len(page) > wish.count:
                raise InvalidMessage("the ends of epochs are missing")
            proven_sets([*self._boundaries, *page], genesis, is_signed)
            self._boundaries += page
        return proven_sets(self._boundaries[:epoch], genesis, is_signed)

    async def _check_proof(
        self, visit: Visit, genesis: Genesis, transaction: Transaction, proof: Proof
    ) -> Joined:
        epoch = proof.receipt.headers[-1].epoch
        sets = await self._bring_sets(visit, genesis, epoch)
        receipt = replace(proof.receipt, boundaries=tuple(self._boundaries[:epoch]))
        if check_receipt(receipt, genesis, is_signed).id != transaction.id:
            raise InvalidMessage("the proof of another transaction")
        return Joined(genesis, receipt.result.height, sets[epoch:])

    def _make(self, genesis: Genesis) -> Transaction:
        """The transaction, written down before anybody sees it."""
        invite = self._invitation.invite
        payload = GatewayJoin(self._signer.public_key, self.peer, invite)
        body = Body(
            version=TRANSACTION_VERSION,
            genesis_hash=genesis.hash,
            expires_ms=Millis(self._now() + genesis.parameters.expiry_window_ms // 2),
            salt=invite.terms.id[:SALT_BYTES],
            kind=GatewayJoin.KIND,
            payload=encode(payload),
            sponsor=invite.terms.organisation,
            signers=(self._signer.public_key,),
        )
        transaction = Transaction(body, (self._signer.sign(body.id),))
        self._made = [*self._made, transaction][-KEPT_MAX:]
        self._kept.write_bytes(encode(Kept(tuple(made.encoded for made in self._made))))
        return transaction

    async def _one(self, visit: Visit, wish: JoinWish) -> Taken | Proof | None:
        """The one reply; None where the node does not know the transaction. Raises: _Refused."""
        try:
            replies = await self._ask(visit, wish)
        except _Refused as refused:
            if refused.code == "unknown_transaction" or (
                isinstance(wish, ProofRequest) and refused.code == Code.EXPIRED
            ):
                return None
            raise
        (reply, *others) = replies or (None,)
        if others or not isinstance(reply, Taken | Proof):
            raise InvalidMessage("another reply than was asked for")
        return reply

    async def _ask(self, visit: Visit, wish: JoinWish) -> list[Any]:
        data = encode(Knock(self._invitation.invite, wish))
        replies = [decode(JoinReply, reply) for reply in await visit.ask(data, timeout_ms=ASK_MS)]
        for reply in replies:
            if isinstance(reply, TurnedAway):
                raise _Refused(reply)
        return replies


def _kept_transactions(kept: Path, invitation: Invitation, signer: Signer) -> list[Transaction]:
    """What was sent before the machine was interrupted; none for another invite or key, or a torn file."""
    with suppress(FileNotFoundError, InvalidMessage):
        file: Kept = decode(Kept, kept.read_bytes())
        made = [decode_transaction(encoded) for encoded in file.transactions]
        for transaction in made:
            payload: GatewayJoin = decode(GatewayJoin, transaction.body.payload)
            if (payload.key, payload.invite) != (signer.public_key, invitation.invite):
                return []
        return made
    return []


def _told(answers: dict[str, str]) -> str:
    return "\n".join(f"{address}: {answer}" for address, answer in answers.items())
