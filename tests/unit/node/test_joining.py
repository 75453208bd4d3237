"""A machine on its way in: with honest nodes, with liars first in the list, and after an interruption."""

from contextlib import asynccontextmanager
from dataclasses import replace
from hashlib import sha256

import pytest
import trio
from p2pledger.chain.genesis import KeyRole
from p2pledger.chain.invite import Invitation, InviteTerms, parse_invite, sign_invite
from p2pledger.chain.joining import (
    GenesisPart,
    JoinReply,
    Knock,
    Proof,
    ProofRequest,
    Submission,
    Taken,
    TurnedAway,
)
from p2pledger.chain.transaction import decode_transaction
from p2pledger.codec import decode, encode
from p2pledger.crypto import is_signed
from p2pledger.errors import InvalidMessage
from p2pledger.ledger.modules.registry import gateway
from p2pledger.network.host import peer_id_of
from p2pledger.network.seam import Unreachable
from p2pledger.node import inviting, joining
from p2pledger.node.config import Role, load_configuration
from p2pledger.node.joining import CannotJoin, Joined, Joiner, Kept
from p2pledger.signer.keyfile import Secret, SecretRole, write_key_file
from p2pledger.types import Millis
from tests import ledgers
from tests.unit.node.solo import Solo, fact, genesis

SEED = bytes(range(32))
PEER = peer_id_of(SEED)
KEY = ledgers.signer("new")
FIRST, SECOND = (f"/dns/{name}/tcp/1/p2p/{PEER}" for name in ("first", "second"))


class Door:
    """Stands for the visits of a test: the real answers of one node, changed by `lies` of an address."""

    def __init__(self, solo):
        self.solo, self.lies, self.asked = solo, {}, []

    @asynccontextmanager
    async def visiting(self, seed, address):
        assert seed == SEED
        if self.lies.get(address) == "away":
            raise Unreachable("nobody is here")
        self.address = address
        yield self

    async def ask(self, request, *, timeout_ms):
        knock = decode(Knock, request)
        self.asked.append(type(knock.wish).__name__)
        replies = [decode(JoinReply, one) async for one in self.solo.exchange.serve_join(PEER, request)]
        if (lie := self.lies.get(self.address)) is not None:
            replies = lie(knock.wish, replies)
        return [encode(one, JoinReply) for one in replies]


def invitation_of(solo, issuer="city 1", **changes):
    terms = InviteTerms(
        id=bytes(16),
        organisation="city",
        role=KeyRole.GATEWAY,
        expires_ms=Millis(solo.clock.now() + 60_000),
        uses=1,
        genesis_hash=solo.genesis.hash,
        issuer=ledgers.signer(issuer).public_key,
    )
    invite = sign_invite(replace(terms, **changes), ledgers.signer(issuer))
    return Invitation(1, invite, (FIRST, SECOND))


def joiner_of(solo, path, invitation=None):
    return Joiner(invitation or invitation_of(solo), SEED, KEY, path / "kept", solo.clock.now)


@pytest.fixture
def at_the_door(monkeypatch):
    def stand(solo):
        door = Door(solo)
        monkeypatch.setattr(joining, "visiting", door.visiting)
        monkeypatch.setattr(joining, "PAUSE_S", 0.01)
        monkeypatch.setattr(joining, "PROOF_PAUSE_S", 0.01)
        monkeypatch.setattr(joining, "PATIENCE_S", 1.0)
        return door

    return stand


async def test_it_joins(tmp_path, at_the_door):
    async with Solo(tmp_path).running() as solo:
        at_the_door(solo)
        joined = await joiner_of(solo, tmp_path).run(20)
        assert joined.genesis == solo.genesis and joined.height >= 1
        assert joined.sets[0] == solo.genesis.authorities
        assert gateway(solo.store, PEER).organisation == "city"


def another_genesis(wish, replies):
    other = encode(ledgers.genesis(quota=ledgers.quota(7)))
    return [GenesisPart(other) if isinstance(reply, GenesisPart) else reply for reply in replies]


def no_genesis(wish, replies):
    return [reply for reply in replies if not isinstance(reply, GenesisPart)]


def forged_head(wish, replies):
    return [
        replace(reply, header=replace(reply.header, time_ms=reply.header.time_ms + 1))
        if hasattr(reply, "header") and hasattr(reply, "transaction_ids")
        else reply
        for reply in replies
    ]


def false_proof(wish, replies):
    return [
        Proof(replace(r.receipt, result=replace(r.receipt.result, output=b"more"))) if is_proof(r) else r
        for r in replies
    ]


def is_proof(reply):
    return isinstance(reply, Proof)


def refuses(wish, replies):
    return [TurnedAway("invite_invalid", "who is that?")] if isinstance(wish, Submission) else replies


def says_wait(wish, replies):
    return [Taken(wish.transaction_id)] if isinstance(wish, ProofRequest) else replies


def takes_and_forgets(wish, replies):
    if isinstance(wish, Submission):
        return [Taken(decode_transaction(wish.transaction).id)]
    return says_unknown(wish, replies)


def says_unknown(wish, replies):
    return [TurnedAway("unknown_transaction", "?")] if isinstance(wish, ProofRequest) else replies


LIES = [
    another_genesis, no_genesis, forged_head, false_proof, refuses, says_wait, takes_and_forgets, "away",
]  # fmt: skip


@pytest.mark.parametrize("lie", LIES)
async def test_a_liar_does_not_keep_it_out(tmp_path, at_the_door, lie):
    async with Solo(tmp_path).running() as solo:
        await solo.pool.submit([(one := fact(solo.genesis)).encoded])
        await solo.pool.wait(one.id, 20_000)
        door = at_the_door(solo)
        door.lies[FIRST] = lie
        joined = await joiner_of(solo, tmp_path).run(20)
        assert joined.genesis == solo.genesis and gateway(solo.store, PEER) is not None


@pytest.mark.parametrize("lie", [lie for lie in LIES if lie is not refuses])
async def test_liars_alone_convince_it_of_nothing(tmp_path, at_the_door, lie):
    async with Solo(tmp_path).running() as solo:
        await solo.pool.submit([(one := fact(solo.genesis)).encoded])
        await solo.pool.wait(one.id, 20_000)
        door = at_the_door(solo)
        door.lies |= {FIRST: lie, SECOND: lie}
        with pytest.raises(CannotJoin) as refused:
            await joiner_of(solo, tmp_path).run(3)
        assert refused.value.code is None and FIRST in str(refused.value)


async def test_where_all_refuse_it_ends_with_the_code(tmp_path, at_the_door):
    async with Solo(tmp_path).running() as solo:
        at_the_door(solo)
        with pytest.raises(CannotJoin) as refused:
            await joiner_of(solo, tmp_path, invitation_of(solo, expires_ms=Millis(1))).run(20)
        assert refused.value.code == "invite_expired"


async def test_an_interrupted_machine_goes_on_with_the_same_transaction(tmp_path, at_the_door):
    async with Solo(tmp_path).running() as solo:
        door = at_the_door(solo)
        invitation = invitation_of(solo)
        door.lies = dict.fromkeys((FIRST, SECOND), false_proof)  # it never learns that it came in
        with pytest.raises(CannotJoin):
            await joiner_of(solo, tmp_path, invitation).run(1)
        kept = (tmp_path / "kept").read_bytes()
        door.lies, door.asked = {}, []
        await joiner_of(solo, tmp_path, invitation).run(20)
        assert (tmp_path / "kept").read_bytes() == kept and "Submission" not in door.asked


@pytest.mark.parametrize("lie", [says_unknown, takes_and_forgets])
async def test_one_that_came_in_unheard_learns_so_though_the_first_node_knows_nothing_of_it(
    tmp_path, at_the_door, lie
):
    """A node that lags is as one that lies: what it does not know of is not forgotten for it."""
    async with Solo(tmp_path).running() as solo:
        door = at_the_door(solo)
        invitation = invitation_of(solo)
        door.lies = dict.fromkeys((FIRST, SECOND), false_proof)
        with pytest.raises(CannotJoin):
            await joiner_of(solo, tmp_path, invitation).run(1)
        door.lies = {FIRST: lie}
        window_ms = solo.genesis.parameters.expiry_window_ms
        for _ in range(2):  # the transaction has expired, and is made anew; then it is interrupted once more
            late = Joiner(invitation, SEED, KEY, tmp_path / "kept", lambda: solo.clock.now() + window_ms)
            with trio.move_on_after(0.5):
                await late._try(FIRST)
        joined = await joiner_of(solo, tmp_path, invitation).run(20)
        assert joined.genesis == solo.genesis and gateway(solo.store, PEER).organisation == "city"


async def test_what_was_kept_of_another_invite_or_torn_is_not_sent(tmp_path, at_the_door):
    async with Solo(tmp_path).running() as solo:
        at_the_door(solo)
        (tmp_path / "kept").write_bytes(encode(Kept((fact(solo.genesis).encoded,))))
        await joiner_of(solo, tmp_path).run(20)
        (tmp_path / "kept").write_bytes(b"torn")
        assert joiner_of(solo, tmp_path)._made == []


# --- the commands


@pytest.mark.parametrize(("text", "ms"), [("90m", 5_400_000), ("24h", 86_400_000), ("30d", 2_592_000_000)])
def test_a_life_in_words(text, ms):
    assert inviting.life_ms(text) == ms


@pytest.mark.parametrize("text", ["", "24", "h", "0h", "-1h", "31d", "1 h", "24H", "1h\n", "999999m"])
def test_no_life(text):
    with pytest.raises(ValueError):
        inviting.life_ms(text)


@pytest.fixture
def admin(tmp_path, monkeypatch):
    """A key file of city's first admin."""
    monkeypatch.setenv("P2PLEDGER_KEYS_PASSPHRASE", "open")
    secret = Secret(SecretRole.TRANSACTION, sha256(b"city 1").digest())
    write_key_file(tmp_path / "admin.key", secret, b"open", scrypt_n=2**10)
    return tmp_path / "admin.key"


OF = genesis()


def test_an_invite_is_made_offline_and_says_what_it_grants(admin):
    granted = inviting.create_invite(admin, None, OF, None, "24h", [FIRST, SECOND, FIRST])
    invitation = parse_invite(granted.text)
    terms = invitation.invite.terms
    assert invitation.addresses == (FIRST, SECOND)
    assert (terms.organisation, terms.role, terms.uses) == ("city", KeyRole.GATEWAY, 1)
    assert terms.genesis_hash == OF.hash and terms.issuer == ledgers.signer("city 1").public_key
    assert is_signed(terms.issuer, terms.sign_digest(), invitation.invite.signature)
    assert "ONE gateway of 'city'" in granted.lines[0] and OF.hash.hex() in granted.lines[1]
    other = inviting.create_invite(admin, None, OF, "utility", "1h", [FIRST])
    assert "no admin's of 'utility'" in other.lines[-1]
    assert parse_invite(other.text).invite.terms.id != terms.id


@pytest.mark.parametrize(
    ("organisation", "expires", "addresses"),
    [
        (None, "24h", []),
        (None, "24h", ["/ip4/300.0.0.1/tcp/1/p2p/" + PEER]),
        (None, "24h", ["/ip4/127.0.0.1/tcp/70000/p2p/" + PEER]),
        (None, "24h", ["/ip4/127.0.0.1/tcp/1"]),
        (None, "40d", [FIRST]),
        ("No Such Name", "24h", [FIRST]),
    ],
)
def test_no_invite(admin, organisation, expires, addresses):
    with pytest.raises(ValueError):
        inviting.create_invite(admin, None, OF, organisation, expires, addresses)


def test_only_an_admin_known_by_the_genesis_need_not_name_its_organisation(admin):
    with pytest.raises(ValueError, match="--organisation"):
        inviting.create_invite(
            admin, None, replace(OF, organisations=OF.organisations[:4], gateways=()), None, "1h", [FIRST]
        )


async def test_the_home_that_a_joining_leaves_is_a_nodes(tmp_path, at_the_door, monkeypatch, admin):
    async with Solo(tmp_path).running() as solo:
        joined = Joined(solo.genesis, 3, (solo.genesis.authorities,) * 2)

        async def run(self, timeout_s):
            return joined

        monkeypatch.setattr(Joiner, "run", run)
        home = tmp_path / "home"
        listen = "/ip4/127.0.0.1/tcp/7199"
        lines = await trio.to_thread.run_sync(inviting.join, invitation_of(solo), home, None, listen, 1.0)
        configuration = load_configuration(home / "node.toml")
        assert configuration.node.role is Role.GATEWAY and configuration.network.listen == listen
        assert configuration.network.peers == (FIRST, SECOND) and configuration.network.allow_peers == ()
        assert inviting.ledger_of_home(home) == (solo.genesis, (FIRST, SECOND))
        assert "at height 3" in lines[0]


def test_home_that_has_joined_is_left_alone(tmp_path):
    (tmp_path / "node.toml").write_text("")
    invite = sign_invite(
        InviteTerms(bytes(16), "city", KeyRole.GATEWAY, 1, 1, bytes(32), KEY.public_key), KEY
    )
    with pytest.raises(FileExistsError):
        inviting.join(Invitation(1, invite, (FIRST,)), tmp_path, None, "/ip4/127.0.0.1/tcp/0", 1.0)


def test_a_string_that_was_changed_is_told_before_anybody_is_asked(tmp_path):
    """The nodes would shut the machine out for a false signature, and say nothing."""
    terms = InviteTerms(bytes(16), "city", KeyRole.GATEWAY, 1, 1, bytes(32), KEY.public_key)
    changed = replace(sign_invite(terms, KEY), terms=replace(terms, expires_ms=2))
    with pytest.raises(InvalidMessage, match="signature") as refused:
        inviting.join(Invitation(1, changed, (FIRST,)), tmp_path / "home", None, "/ip4/127.0.0.1/tcp/0", 1.0)
    assert refused.value.code == "bad_signature" and not (tmp_path / "home").exists()
