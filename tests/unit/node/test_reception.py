"""What a node tells a machine that shows an invite, and what it does not."""

from dataclasses import replace

import pytest
import trio
from p2pledger.chain.block import FinalBlock
from p2pledger.chain.genesis import KeyRole
from p2pledger.chain.invite import InviteTerms, sign_invite
from p2pledger.chain.joining import (
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
from p2pledger.chain.payloads import GatewayJoin, KeyRevoke, RevocationReason
from p2pledger.chain.receipt import check_receipt
from p2pledger.chain.transaction import Outcome
from p2pledger.codec import decode, encode
from p2pledger.crypto import is_signed
from p2pledger.errors import InvalidMessage, InvalidTransaction
from p2pledger.node import reception
from p2pledger.types import Epoch, Height, Millis, PeerId
from tests import ledgers
from tests.unit.node.solo import PARAMETERS, Solo, fact, genesis

PEER = PeerId("new-peer")
NEW = ledgers.signer("new").public_key


def invite_of(solo, issuer="city 1", **changes):
    terms = InviteTerms(
        id=bytes(16),
        organisation="city",
        role=KeyRole.GATEWAY,
        expires_ms=Millis(solo.clock.now() + 60_000),
        uses=1,
        genesis_hash=solo.genesis.hash,
        issuer=ledgers.signer(issuer).public_key,
    )
    return sign_invite(replace(terms, **changes), ledgers.signer(issuer))


def join_of(solo, invite, peer=PEER, name="new"):
    payload = GatewayJoin(ledgers.signer(name).public_key, peer, invite)
    expires = solo.clock.now() + 30_000
    return ledgers.transaction(solo.genesis, payload, "city", name, expires_ms=expires)


async def ask(solo, invite, wish, peer=PEER):
    """The replies as they come out of the bytes."""
    request = encode(Knock(invite, wish))
    return [decode(JoinReply, reply) async for reply in solo.exchange.serve_join(peer, request)]


async def joined(solo, invite):
    one = join_of(solo, invite)
    assert await ask(solo, invite, Submission(one.encoded)) == [Taken(one.id)]
    with trio.fail_after(20):
        while not isinstance((replies := await ask(solo, invite, ProofRequest(one.id)))[0], Proof):
            assert replies == [Taken(one.id)]
    return one, replies[0].receipt


async def test_an_invited_machine_gets_the_genesis_and_the_head(tmp_path, monkeypatch):
    monkeypatch.setattr(reception, "GENESIS_PART_BYTES", 500)
    async with Solo(tmp_path).running() as solo:
        invite = invite_of(solo)
        parts = await ask(solo, invite, GenesisRequest(0))
        assert len(parts) > 1 and all(isinstance(part, GenesisPart) for part in parts)
        assert b"".join(part.data for part in parts) == encode(solo.genesis)
        assert await ask(solo, invite, GenesisRequest(1)) == parts[1:]
        assert await ask(solo, invite, HeadRequest(Height(1))) == []
        assert await ask(solo, invite, BoundariesRequest(Epoch(0), 1)) == []
        await solo.pool.submit([fact(solo.genesis).encoded])
        with trio.fail_after(20):
            while not (head := await ask(solo, invite, HeadRequest(Height(1)))):
                await trio.sleep(0.01)
        assert isinstance(head[0], FinalBlock) and head[0].certificate is not None
        assert await ask(solo, invite, HeadRequest(Height(1_000))) == []


async def test_it_hands_in_its_joining_and_gets_the_proof(tmp_path):
    async with Solo(tmp_path).running() as solo:
        spread = []
        solo.exchange.reception.spread = spread.extend
        invite = invite_of(solo)
        one, receipt = await joined(solo, invite)
        assert check_receipt(receipt, solo.genesis, is_signed) == one and spread == [one]
        # It is in, and may ask on as it did; another may not.
        assert len(await ask(solo, invite, GenesisRequest(0))) == 1
        (reply,) = await ask(solo, invite, GenesisRequest(0), peer=PeerId("another"))
        assert isinstance(reply, TurnedAway) and reply.code == "invite_used"
        (reply,) = await ask(solo, invite, Submission(one.encoded))
        assert isinstance(reply, TurnedAway) and reply.code == "replayed"


async def test_it_writes_on_its_organisations_quota(tmp_path):
    parameters = replace(PARAMETERS, quota_window_ms=86_400_000)
    of = genesis(parameters, quota=ledgers.quota(transactions=3))
    async with Solo(tmp_path, of).running() as solo:
        await joined(solo, invite_of(solo))  # the first of three
        for _ in range(2):
            one = fact(of, "new")
            await solo.pool.submit([one.encoded])
            assert (await solo.pool.wait(one.id, 20_000)).outcome is Outcome.FINAL
        (refusal,) = await solo.pool.submit([fact(of, "new").encoded])
        assert isinstance(refusal, InvalidTransaction) and refusal.code == "over_quota"


async def test_once_its_key_has_ended_it_is_told_nothing(tmp_path):
    async with Solo(tmp_path).running() as solo:
        invite = invite_of(solo)
        await joined(solo, invite)
        revoke = KeyRevoke(NEW, RevocationReason.COMPROMISED, Height(0))
        end = ledgers.transaction(
            solo.genesis, revoke, "city", "city 1", expires_ms=solo.clock.now() + 30_000
        )
        await solo.pool.submit([end.encoded])
        await solo.pool.wait(end.id, 20_000)
        (reply,) = await ask(solo, invite, GenesisRequest(0))
        assert isinstance(reply, TurnedAway) and reply.code == "invite_used"


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"expires_ms": Millis(1)}, "invite_expired"),
        ({"role": KeyRole.ADMIN}, "invite_invalid"),
        ({"genesis_hash": bytes(32)}, "invite_invalid"),
        ({"organisation": "utility"}, "invite_invalid"),
        ({"issuer": "stranger"}, "invite_invalid"),
        ({"issuer": "city gateway"}, "invite_invalid"),
    ],
)
async def test_whoever_has_no_good_invite_is_turned_away_whatever_it_asks(tmp_path, changes, code):
    solo = Solo(tmp_path)
    bad = invite_of(solo, **changes)
    transaction_id = join_of(solo, bad).id
    for wish in (
        GenesisRequest(0),
        HeadRequest(Height(1)),
        BoundariesRequest(Epoch(0), 1),
        ProofRequest(transaction_id),
        Submission(join_of(solo, bad).encoded),
    ):
        (reply,) = await ask(solo, bad, wish)
        assert isinstance(reply, TurnedAway) and reply.code == code
    assert len(solo.pool.mempool) == 0


async def test_what_no_honest_machine_says(tmp_path, monkeypatch):
    monkeypatch.setattr(reception, "WAIT_MS", 10)
    async with Solo(tmp_path).running() as solo:
        invite = invite_of(solo)
        forged = replace(invite, signature=bytes(64))
        other = invite_of(solo, id=b"x" * 16)
        for knock in (
            (forged, GenesisRequest(0)),
            (invite, Submission(b"rubbish")),
            (invite, Submission(fact(solo.genesis).encoded)),
            (invite, Submission(join_of(solo, other).encoded)),
            (invite, Submission(join_of(solo, invite, PeerId("another")).encoded)),
        ):
            with pytest.raises(InvalidMessage):
                await ask(solo, *knock)
        with pytest.raises(InvalidMessage):
            [_ async for _ in solo.exchange.serve_join(PEER, b"rubbish")]
        # Somebody else's transaction is not proven to it.
        theirs = fact(solo.genesis)
        await solo.pool.submit([theirs.encoded])
        await solo.pool.wait(theirs.id, 20_000)
        with trio.fail_after(20):
            while solo.store.receipt(theirs.id) is None:
                await trio.sleep(0.01)
        with pytest.raises(InvalidMessage):
            await ask(solo, invite, ProofRequest(theirs.id))
        (reply,) = await ask(solo, invite, ProofRequest(bytes(32)))
        assert isinstance(reply, TurnedAway) and reply.code == "unknown_transaction"
