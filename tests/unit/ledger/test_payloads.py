"""What is signed inside a payload is verified once, and by nobody's oversight less than once."""

from dataclasses import replace

import pytest
from p2pledger.chain.genesis import KeyRole
from p2pledger.chain.invite import InviteTerms, sign_invite
from p2pledger.chain.payloads import PAYLOADS, ClaimAudit, GatewayJoin, sign_ready
from p2pledger.crypto import is_signed
from p2pledger.errors import InvalidTransaction
from p2pledger.ledger import payloads as payloads_module
from p2pledger.ledger.machine import Machine
from p2pledger.types import Height, Millis, PeerId
from tests.ledgers import START_MS, transaction
from tests.programs import WEEK, Programs, claim, create, digest, grant, key, signer

REFUSED = {
    "account.enroll": "enrolment_invalid",
    "claim.audit": "audit_not_granted",
    "authority.ready": "proof_invalid",
    "gateway.join": "invite_invalid",
}


@pytest.fixture
def ledger():
    made = Programs()
    made.enacts(create())
    made.enrolls("ann")
    made.week(2)
    made.earns("ann", WEEK + 1)
    return made


def invite(of, **changes):
    terms = InviteTerms(bytes(16), "city", KeyRole.GATEWAY, Millis(START_MS * 2), 1, of.hash, key("city 1"))
    return replace(sign_invite(terms, signer("city 1")), **changes)


def carrying(ledger, kind, is_good=True):
    """A transaction of a kind whose payload carries a signature, true or not: all else is in order."""
    of = ledger.genesis
    if kind == "account.enroll":
        one = ledger.enrolment("new", nullifier="new")
        payload, by = one if is_good else replace(one, nullifier=digest("another")), ("city gateway", "new")
        sponsor = "residents"
    elif kind == "claim.audit":
        granted = grant("ann", WEEK + (1 if is_good else 2), ledger=ledger)
        payload = ClaimAudit(key("ann"), WEEK + 1, True, claim("ann").root, granted)
        sponsor, by = "authority-0", ("admin 0",)
    elif kind == "authority.ready":
        height = Height(ledger.height)
        one = sign_ready(of.hash, signer("authority 0"), height, digest("head"))
        payload = one if is_good else replace(one, digest=digest("another"))
        sponsor, by = "authority-0", ("admin 0",)
    else:
        one = invite(of)
        bad = replace(one, terms=replace(one.terms, id=b"another invite's"))
        payload = GatewayJoin(key("new"), PeerId("new-peer"), one if is_good else bad)
        sponsor, by = "city", ("new",)
    return transaction(of, payload, sponsor, *by, expires_ms=ledger.time_ms + 60_000)


class Counted:
    """Verifies, and remembers how often it did."""

    def __init__(self):
        self.count = 0

    def __call__(self, *signed):
        self.count += 1
        return is_signed(*signed)


def test_these_kinds_are_all_that_carry_a_signature():
    carrying = {kind for kind, payload in PAYLOADS.items() if hasattr(payload, "signed_inside")}
    assert carrying == REFUSED.keys()


@pytest.mark.parametrize("kind", REFUSED)
def test_what_was_verified_before_is_not_verified_by_the_rule(ledger, kind):
    verify = Counted()
    ledger.machine = Machine(ledger.genesis, verify)
    one = carrying(ledger, kind)
    ((id_, signed),) = ledger.machine.signed_inside([one]).items()
    assert id_ == one.id and is_signed(*signed)
    ledger.machine.note_proven([one.id])
    assert ledger.machine.signed_inside([one]) == {}
    ledger.machine.check(ledger.reader, ledger.next_round, one)
    ledger.machine.build(ledger.reader, ledger.execution.frontier, ledger.next_round, [one])
    ledger.block(one)
    assert verify.count == 0


@pytest.mark.parametrize("kind", REFUSED)
def test_what_nobody_verified_before_the_rule_verifies(ledger, kind):
    verify = Counted()
    ledger.machine = Machine(ledger.genesis, verify)
    ledger.block(carrying(ledger, kind))
    assert verify.count == 1


@pytest.mark.parametrize("kind", REFUSED)
@pytest.mark.parametrize("is_looked_for", [False, True])
def test_what_does_not_hold_is_refused_on_every_way_into_a_block(ledger, kind, is_looked_for):
    bad, good = carrying(ledger, kind, is_good=False), carrying(ledger, kind)
    machine, at, frontier = ledger.machine, ledger.next_round, ledger.execution.frontier
    if is_looked_for:
        found = machine.signed_inside([bad, good])
        machine.note_proven([id_ for id_, signed in found.items() if is_signed(*signed)])
        assert machine.signed_inside([bad, good]).keys() == {bad.id}
    with pytest.raises(InvalidTransaction) as tried:
        machine.check(ledger.reader, at, bad)
    with pytest.raises(InvalidTransaction) as executed:
        machine.execute(ledger.reader, frontier, at, [bad])
    built = machine.build(ledger.reader, frontier, at, [bad, good])
    assert built.transactions == (good,)
    codes = [tried.value.code, executed.value.code, *(refusal.error.code for refusal in built.refused)]
    assert codes == [REFUSED[kind]] * 3


def test_a_grant_to_one_auditor_proves_nothing_of_the_same_payload_by_another(ledger):
    good = carrying(ledger, "claim.audit")
    ledger.machine.note_proven(ledger.machine.signed_inside([good]))
    payload = ClaimAudit(key("ann"), WEEK + 1, True, claim("ann").root, grant("ann", WEEK + 1, ledger=ledger))
    other = transaction(ledger.genesis, payload, "authority-1", "admin 1", expires_ms=ledger.time_ms + 60_000)
    ((_, signed),) = ledger.machine.signed_inside([good, other]).items()
    assert not is_signed(*signed)


def test_what_no_state_could_accept_has_nothing_to_verify(ledger):
    elsewhere = Programs()
    elsewhere.genesis = replace(elsewhere.genesis, chain_id="elsewhere")
    bad = transaction(ledger.genesis, b"\x80", "residents", "new", kind="account.enroll")
    foreign = transaction(elsewhere.genesis, elsewhere.enrolment("new"), "residents", "new")
    unknown = transaction(ledger.genesis, b"\x80", "residents", "new", kind="moon.walk")
    assert ledger.machine.signed_inside([bad, foreign, unknown]) == {}


def test_so_many_are_remembered_and_the_oldest_are_verified_again(ledger, monkeypatch):
    monkeypatch.setattr(payloads_module, "PROVEN_MAX", 2)
    machine = ledger.machine
    three = [carrying(ledger, "account.enroll") for _ in range(3)]
    for one in three:
        machine.note_proven([one.id])
    assert machine.signed_inside(three).keys() == {three[0].id}
