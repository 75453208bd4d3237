"""Who decides, what is open, who changed what and why: asked by the table, against what was done."""

from contextlib import suppress
from dataclasses import replace

import pytest
from p2pledger.chain.genesis import LAN
from p2pledger.chain.payloads.governance import GovVote, Parameter, ParameterSet
from p2pledger.codec import decode, encode, to_json
from p2pledger.errors import InvalidTransaction
from p2pledger.ledger.modules.governance.queries import OffenderFound
from p2pledger.ledger.modules.governance.rows import Change, ChangeKind, Status
from p2pledger.types import Height
from tests.asking import code, every
from tests.ledgers import Ledger, genesis, signer, transaction
from tests.unit.ledger.modules.test_governance import (
    CITY,
    EPOCH,
    FOUNDERS,
    adopt,
    go_to,
    propose,
    say_ready,
    vote,
)

BYTES = ParameterSet(Parameter.BLOCK_BYTES_MAX, 2_000)


@pytest.fixture
def ledger() -> Ledger:
    return Ledger(genesis(parameters=replace(LAN, epoch_blocks=EPOCH)))


def test_the_set_that_decides_on_a_height(ledger):
    adopt(ledger, CITY)
    say_ready(ledger, "city votes")
    go_to(ledger, EPOCH)
    for height, epoch, names in (
        (1, 0, FOUNDERS),
        (EPOCH, 0, FOUNDERS),
        (EPOCH + 1, 1, FOUNDERS),
        (2 * EPOCH, 1, FOUNDERS),
        (2 * EPOCH + 1, 2, [*FOUNDERS, "city"]),
        (3 * EPOCH, 2, [*FOUNDERS, "city"]),
    ):
        [found] = every(ledger, "governance.authorities", height=height)
        assert (found.height, found.epoch) == (height, epoch)
        assert [member.organisation for member in found.members] == names
        assert found.quorum == {4: 3, 5: 4}[len(names)]
    assert every(ledger, "governance.authorities")[0].height == EPOCH + 1
    assert code(ledger, "governance.authorities", height=3 * EPOCH + 1) == "unknown_block"
    assert to_json(every(ledger, "governance.authorities")[0])["members"][0]["organisation"] == "authority-0"


def test_open_votes_with_how_many_are_for_and_against(ledger):
    late, soon = propose(ledger, CITY, 30), propose(ledger, BYTES, 9, by=1)
    decided = adopt(ledger, replace(BYTES, value=3_000))  # in block 6
    vote(ledger, late, 0, 2)
    vote(ledger, late, 3, approves=False)
    for limit in (1, 2, 9):
        found = every(ledger, "governance.open-votes", limit)
        assert [one.proposal for one in found] == [late], "block 10 comes too late for the vote on 9"
    [one] = found
    assert (one.approving, one.rejecting) == (("authority-0", "authority-2"), ("authority-3",))
    assert (one.approvals, one.rejections, one.needed) == (2, 1, 3)
    assert (one.kind, one.measure, one.organisation) == ("authority.add", encode(CITY), "authority-0")
    assert (one.basis, one.height, one.activation_height) == ("council:2026-1", 1, 30)
    assert soon != decided
    go_to(ledger, 28)
    assert len(every(ledger, "governance.open-votes")) == 1, "block 29 may hold a vote still"
    ledger.block()
    assert every(ledger, "governance.open-votes") == []
    assert ledger.refuses(GovVote(late, True), "authority-1", "admin 1") == "vote_closed"


def test_a_vote_is_open_exactly_while_the_next_block_may_hold_one(ledger):
    proposal = propose(ledger, CITY, 5)
    while ledger.height < 7:
        is_open = [one.proposal for one in every(ledger, "governance.open-votes")] == [proposal]
        ballot = GovVote(proposal, True)
        may_vote = True
        with suppress(AssertionError):  # it is not refused
            may_vote = ledger.refuses(ballot, "authority-1", "admin 1") != "vote_closed"
        assert is_open == may_vote == (ledger.height < 4)
        ledger.block()


def test_a_proposal_that_nobody_decided_on_has_expired_when_no_block_can_hold_a_vote(ledger):
    proposal = propose(ledger, CITY, 9)
    decided = adopt(ledger, BYTES)
    seen = set()
    while ledger.height < 11:
        found = every(ledger, "governance.proposals", 1)
        assert [one.proposal for one in found] == [decided, proposal]
        status = {one.proposal: one.status for one in found}
        assert status[decided] is Status.ADOPTED
        assert status[proposal] is (Status.OPEN if ledger.height < 8 else Status.EXPIRED)
        is_open = [one.proposal for one in every(ledger, "governance.open-votes")] == [proposal]
        assert is_open == (status[proposal] is Status.OPEN)
        assert [one.proposal for one in every(ledger, "governance.decisions")] == [decided]
        seen.add(status[proposal])
        ledger.block()
    assert seen == {Status.OPEN, Status.EXPIRED}
    [one] = every(ledger, "governance.proposals", from_height=9, to_height=9)
    assert (one.proposal, one.organisation, one.activation_height) == (proposal, "authority-0", 9)
    assert to_json(one)["status"] == "expired"
    assert every(ledger, "governance.proposals", to_height=5) == []
    with pytest.raises(ValueError, match="from_height"):
        every(ledger, "governance.proposals", from_height=2, to_height=1)
    late = transaction(ledger.genesis, GovVote(proposal, True), "authority-1", "admin 1")
    with pytest.raises(InvalidTransaction, match="the vote is over: expired"):
        ledger.machine.check(ledger.reader, ledger.next_round, late)


def test_decisions_tell_who_changed_which_rule_when_and_why(ledger):
    changed = adopt(ledger, BYTES)
    at = ledger.height
    refused = propose(ledger, CITY, 40, by=2)
    vote(ledger, refused, 0, 1, approves=False)
    propose(ledger, CITY, 41, by=3)
    for limit in (1, 2, 9):
        found = every(ledger, "governance.decisions", limit)
        assert [(one.proposal, one.status) for one in found] == [
            (changed, Status.ADOPTED),
            (refused, Status.REJECTED),
        ]
    first = found[0]
    assert (first.height, first.proposed_height, first.activation_height) == (at, 1, 5)
    assert (first.organisation, first.kind) == ("authority-0", ParameterSet.KIND)
    assert decode(ParameterSet, first.measure) == BYTES
    assert (first.basis, first.document_hash) == ("council:2026-1", bytes(32))
    assert first.approving == ("authority-0", "authority-1", "authority-2") and first.rejecting == ()
    for window, those in (
        ({"to_height": at}, found[:1]),
        ({"from_height": at + 1}, found[1:]),
        ({"from_height": at, "to_height": at}, found[:1]),
        ({"to_height": at - 1}, []),
    ):
        assert every(ledger, "governance.decisions", 1, **window) == those
    with pytest.raises(ValueError, match="from_height"):
        every(ledger, "governance.decisions", from_height=2, to_height=1)


def test_what_waits_and_who_was_convicted(ledger):
    [nothing] = every(ledger, "governance.waiting")
    assert (nothing.offenders, nothing.changes) == ((), ())
    adopt(ledger, CITY)
    ledger.block(offences=((0, 3, 2),))
    [found] = every(ledger, "governance.waiting")
    assert found.changes == (Change(ChangeKind.ADD, "city", CITY.key, CITY.peer, Height(5)),)
    assert found.offenders == (OffenderFound(signer("authority 2").public_key, Height(ledger.height)),)
    assert to_json(found)["changes"][0]["kind"] == "add"
