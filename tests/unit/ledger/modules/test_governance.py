"""What authorities decide, and how their list changes."""

from dataclasses import replace

import pytest
from p2pledger.chain.authority import Authority, AuthoritySet
from p2pledger.chain.genesis import LAN
from p2pledger.chain.payloads.governance import (
    AuthorityAdd,
    AuthorityReady,
    AuthorityRemove,
    AuthorityRotate,
    GovPropose,
    GovSuspend,
    GovVote,
    Parameter,
    ParameterSet,
    UpgradePlan,
    ready_digest,
)
from p2pledger.codec import encode
from p2pledger.crypto import is_signed
from p2pledger.errors import Fatal, InvalidMessage, InvalidTransaction
from p2pledger.ledger.modules.governance import authorities_at, authorities_of, awaited_peers, rules_version
from p2pledger.ledger.modules.governance.authorities import enact_add, next_set
from p2pledger.ledger.modules.governance.proposals import DECISIONS_INDEX, PROPOSALS_INDEX
from p2pledger.ledger.modules.governance.rows import (
    CHANGES_MAX,
    POLLS,
    PROPOSALS_MAX,
    WAITING,
    Change,
    ChangeKind,
    Status,
    Waiting,
    waiting,
)
from p2pledger.ledger.rules import Context
from p2pledger.ledger.state import Changes
from p2pledger.types import ZERO_HASH, Height, PeerId
from tests.ledgers import START_MS, Ledger, genesis, signer, transaction
from tests.unit.ledger.modules.test_registry import ACT

EPOCH = 8
SHORT = replace(LAN, epoch_blocks=EPOCH)
CITY = AuthorityAdd("city", signer("city votes").public_key, PeerId("city-authority"))
WEEK_MS = 7 * 86_400_000


@pytest.fixture
def ledger() -> Ledger:
    return Ledger(genesis(parameters=SHORT))


def measure(content, at: int) -> GovPropose:
    return GovPropose(content.KIND, encode(content), Height(at), "council:2026-1", ZERO_HASH)


def propose(ledger: Ledger, content, at: int, by: int = 0):
    return ledger.does(measure(content, at), f"authority-{by}", f"admin {by}").id


def vote(ledger: Ledger, proposal, *voters: int, approves: bool = True) -> Status:
    for voter in voters:
        ledger.does(GovVote(proposal, approves), f"authority-{voter}", f"admin {voter}")
    return status(ledger, proposal)


def status(ledger: Ledger, proposal) -> Status:
    poll = POLLS.get(ledger.reader, proposal)
    assert poll is not None
    return poll.status


def adopt(ledger: Ledger, content, ahead: int = 5):
    proposal = propose(ledger, content, ledger.height + ahead)
    assert vote(ledger, proposal, 0, 1, 2) is Status.ADOPTED
    return proposal


def ready(ledger: Ledger, name: str, height: int | None = None, proof: str | None = None) -> AuthorityReady:
    key = signer(name).public_key
    at = Height(ledger.height if height is None else height)
    digest = ready_digest(ledger.genesis.hash, key, at, ZERO_HASH)
    return AuthorityReady(key, at, ZERO_HASH, signer(proof or name).sign(digest))


def say_ready(ledger: Ledger, name: str, sponsor: str = "city", admin: str = "city 1") -> None:
    ledger.does(ready(ledger, name), sponsor, admin)


def go_to(ledger: Ledger, height: int) -> None:
    while ledger.height < height:
        ledger.block()


def names(ledger: Ledger, epoch: int) -> list[str]:
    found = authorities_of(ledger.reader, epoch)
    assert found is not None
    return [member.organisation for member in found.members]


FOUNDERS = [f"authority-{i}" for i in range(4)]


# --- votes -------------------------------------------------------------------------------------------------


def test_more_than_two_thirds_decide(ledger):
    proposal = propose(ledger, CITY, 20)
    assert vote(ledger, proposal, 0, 1) is Status.OPEN
    assert waiting(ledger.reader).changes == ()
    assert vote(ledger, proposal, 2) is Status.ADOPTED
    assert waiting(ledger.reader).changes == (
        Change(ChangeKind.ADD, "city", CITY.key, CITY.peer, Height(20)),
    )
    decided = [row for row in ledger.rows if row.name == DECISIONS_INDEX]
    assert [row.key[8:] for row in decided] == [proposal]
    assert decided[0].value == b"\x02authority.add"
    assert ledger.refuses(GovVote(proposal, True), "authority-3", "admin 3") == "vote_closed"


def test_who_is_to_come_is_let_in_from_the_decision_until_its_list_names_it(ledger):
    proposal = propose(ledger, CITY, ledger.height + 8)
    vote(ledger, proposal, 0, 1)
    assert awaited_peers(ledger.reader) == frozenset()
    vote(ledger, proposal, 2)
    assert awaited_peers(ledger.reader) == {CITY.peer}
    go_to(ledger, 2 * EPOCH)  # it is not ready, and waits
    assert awaited_peers(ledger.reader) == {CITY.peer}
    say_ready(ledger, "city votes")
    go_to(ledger, 3 * EPOCH)
    assert names(ledger, 4) == [*FOUNDERS, "city"]
    assert awaited_peers(ledger.reader) == frozenset()


def test_who_is_to_leave_is_not_let_in_for_it_and_another_key_brings_its_peer(ledger):
    ledger.does(AuthorityRotate(signer("new 1").public_key, PeerId("new-peer-1")), "authority-1", "admin 1")
    assert awaited_peers(ledger.reader) == {PeerId("new-peer-1")}
    adopt(ledger, CITY)
    adopt(ledger, AuthorityRemove("authority-2"))
    assert awaited_peers(ledger.reader) == {PeerId("new-peer-1"), CITY.peer}
    adopt(ledger, AuthorityRemove("city"))
    assert awaited_peers(ledger.reader) == {PeerId("new-peer-1")}


def test_a_proposal_is_rejected_once_too_few_are_left(ledger):
    proposal = propose(ledger, CITY, 20)
    assert vote(ledger, proposal, 0, approves=False) is Status.OPEN
    assert vote(ledger, proposal, 1, approves=False) is Status.REJECTED
    assert waiting(ledger.reader).changes == ()


def test_an_authority_votes_once_and_others_do_not(ledger):
    proposal = propose(ledger, CITY, 20)
    vote(ledger, proposal, 0)
    assert ledger.refuses(GovVote(proposal, False), "authority-0", "admin 0") == "already_voted"
    assert ledger.refuses(GovVote(proposal, True), "city", "city 1") == "not_an_authority"
    assert ledger.refuses(GovVote(proposal, True), "authority-1", "admin 2") == "not_entitled"
    assert ledger.refuses(GovVote(ZERO_HASH, True), "authority-1", "admin 1") == "unknown_proposal"
    assert ledger.refuses(measure(CITY, 20), "city", "city 1") == "not_an_authority"


def test_what_is_not_decided_in_time_has_failed(ledger):
    proposal = propose(ledger, CITY, 3)
    assert vote(ledger, proposal, 0) is Status.OPEN  # in block 2
    assert ledger.refuses(GovVote(proposal, True), "authority-1", "admin 1") == "vote_closed"  # in block 3
    assert ledger.refuses(measure(CITY, 3), "authority-0", "admin 0") == "backdated"
    assert ledger.refuses(measure(CITY, 200_000_000), "authority-0", "admin 0") == "backdated"


def test_a_proposal_that_could_not_be_carried_out_is_refused_at_once(ledger):
    known = replace(CITY, organisation="nobody")
    assert ledger.refuses(measure(known, 20), "authority-0", "admin 0") == "unknown_organisation"
    residents = replace(CITY, organisation="residents")
    assert ledger.refuses(measure(residents, 20), "authority-0", "admin 0") == "unknown_organisation"
    odd = GovPropose("record.append", encode(ACT), Height(20), "b", ZERO_HASH)
    assert ledger.refuses(odd, "authority-0", "admin 0") == "unknown_measure"
    broken = GovPropose("authority.add", b"\x80", Height(20), "b", ZERO_HASH)
    assert ledger.refuses(broken, "authority-0", "admin 0") == "malformed"
    assert ledger.height == 0 and waiting(ledger.reader).changes == ()


def test_a_measure_that_has_become_impossible_fails_and_the_vote_stands(ledger):
    first, second = propose(ledger, CITY, 20), propose(ledger, CITY, 21)
    assert vote(ledger, first, 0, 1, 2) is Status.ADOPTED
    assert vote(ledger, second, 0, 1, 2) is Status.FAILED
    assert len(waiting(ledger.reader).changes) == 1


def test_an_organisation_has_so_many_open_proposals(ledger):
    for i in range(PROPOSALS_MAX):
        propose(ledger, ParameterSet(Parameter.BLOCK_BYTES_MAX, 2_000 + i), 30)
    again = measure(CITY, 30)
    assert ledger.refuses(again, "authority-0", "admin 0") == "too_many_proposals"
    ledger.does(again, "authority-1", "admin 1")
    go_to(ledger, 29)
    propose(ledger, CITY, 40)  # the others are over
    keys = [row.key for row in ledger.rows if row.name == PROPOSALS_INDEX]
    assert len(keys) == len(set(keys)) == PROPOSALS_MAX + 2


def test_more_than_half_suspend_and_it_ends_by_itself(ledger):
    until_ms = START_MS + 1_000
    wish = GovSuspend("utility", until_ms)
    for caller in (0, 1):
        ledger.does(wish, f"authority-{caller}", f"admin {caller}")
    assert ledger.refuses(wish, "authority-1", "admin 1") == "already_voted"
    ledger.does(ACT, "utility", "utility 1")
    ledger.does(wish, "authority-2", "admin 2")
    assert ledger.refuses(ACT, "utility", "utility 1") == "sponsor_suspended"
    ledger.time_ms = until_ms
    ledger.does(ACT, "utility", "utility 1")


@pytest.mark.parametrize(
    ("organisation", "after_ms", "code"),
    [
        ("utility", 0, "out_of_range"),
        ("utility", WEEK_MS + 2, "out_of_range"),
        ("nobody", 1_000, "unknown_organisation"),
        ("residents", 1_000, "unknown_organisation"),
    ],
)
def test_a_suspension_has_its_limits(ledger, organisation, after_ms, code):
    wish = GovSuspend(organisation, START_MS + after_ms)
    assert ledger.refuses(wish, "authority-0", "admin 0") == code


def test_a_suspended_authority_does_not_vote(ledger):
    proposal = propose(ledger, CITY, 20)
    for caller in (0, 1, 2):
        ledger.does(GovSuspend("authority-3", START_MS + 60_000), f"authority-{caller}", f"admin {caller}")
    assert ledger.refuses(GovVote(proposal, True), "authority-3", "admin 3") == "sponsor_suspended"


# --- lists -------------------------------------------------------------------------------------------------


def test_who_is_added_and_ready_sits_two_epochs_later(ledger):
    adopt(ledger, CITY)
    say_ready(ledger, "city votes")
    go_to(ledger, EPOCH)
    assert ledger.execution.next_set == authorities_of(ledger.reader, 2)
    assert names(ledger, 0) == names(ledger, 1) == FOUNDERS
    assert names(ledger, 2) == [*FOUNDERS, "city"]
    assert authorities_of(ledger.reader, 3) is None
    go_to(ledger, 2 * EPOCH + 1)
    assert len(authorities_at(ledger.reader, ledger.genesis, Height(2 * EPOCH))) == 4
    assert len(authorities_at(ledger.reader, ledger.genesis, Height(2 * EPOCH + 1))) == 5
    ledger.does(measure(AuthorityRemove("authority-1"), 30), "city", "city 1")


def test_who_is_not_ready_waits(ledger):
    adopt(ledger, CITY)
    go_to(ledger, EPOCH)
    assert names(ledger, 2) == FOUNDERS
    say_ready(ledger, "city votes")
    go_to(ledger, 2 * EPOCH)
    assert names(ledger, 3) == [*FOUNDERS, "city"]
    assert waiting(ledger.reader) == Waiting((), ())


def test_readiness_is_of_the_last_epoch(ledger):
    proposal = propose(ledger, CITY, EPOCH + 1)
    vote(ledger, proposal, 0, 1, 2)
    say_ready(ledger, "city votes")  # block 5, and it may be made in block 16 at the earliest
    go_to(ledger, 2 * EPOCH)
    assert names(ledger, 3) == FOUNDERS


def test_only_the_holder_of_the_key_is_ready_and_follows_the_chain(ledger):
    assert ledger.refuses(ready(ledger, "city votes"), "city", "city 1") == "unknown_key"
    adopt(ledger, CITY)
    assert ledger.refuses(ready(ledger, "city votes"), "utility", "utility 1") == "unknown_key"
    forged = ready(ledger, "city votes", proof="city 1")
    assert ledger.refuses(forged, "city", "city 1") == "proof_invalid"
    ahead = ready(ledger, "city votes", height=ledger.height + 1)
    assert ledger.refuses(ahead, "city", "city 1") == "not_recent"
    go_to(ledger, EPOCH)
    behind = ready(ledger, "city votes", height=0)
    assert ledger.refuses(behind, "city", "city 1") == "not_recent"


def test_one_change_at_a_time_and_the_others_wait_their_turn(ledger):
    utility = AuthorityAdd("utility", signer("utility votes").public_key, PeerId("utility-authority"))
    first, second = propose(ledger, CITY, 8, by=0), propose(ledger, utility, 8, by=1)
    for voter in (0, 1, 2):
        name, admin = f"authority-{voter}", f"admin {voter}"
        ledger.block(*(transaction(ledger.genesis, GovVote(p, True), name, admin) for p in (first, second)))
    say_ready(ledger, "city votes")
    say_ready(ledger, "utility votes", "utility", "utility 1")
    go_to(ledger, EPOCH)
    assert names(ledger, 2) == [*FOUNDERS, "city"]
    say_ready(ledger, "utility votes", "utility", "utility 1")
    go_to(ledger, 2 * EPOCH)
    assert names(ledger, 3) == [*FOUNDERS, "city", "utility"]


def test_a_removal_waits_until_enough_are_left(ledger):
    adopt(ledger, AuthorityRemove("authority-0"))
    go_to(ledger, EPOCH)
    assert names(ledger, 2) == FOUNDERS
    adopt(ledger, CITY)
    say_ready(ledger, "city votes")
    go_to(ledger, 2 * EPOCH)
    assert names(ledger, 3) == [*FOUNDERS, "city"], "one change in an epoch"
    go_to(ledger, 3 * EPOCH)
    assert names(ledger, 4) == [*FOUNDERS[1:], "city"]


def test_an_authority_rotates_its_key(ledger):
    new = AuthorityRotate(signer("new votes").public_key, PeerId("authority-peer-2"))
    ledger.does(new, "authority-2", "admin 2")
    say_ready(ledger, "new votes", "authority-2", "admin 2")
    go_to(ledger, EPOCH)
    decided = authorities_of(ledger.reader, 2)
    assert decided.members[2] == Authority("authority-2", new.key, new.peer)
    assert [m.organisation for m in decided.members] == FOUNDERS
    assert ledger.refuses(new, "authority-2", "admin 2") == "key_taken"
    assert ledger.refuses(replace(new, key=CITY.key), "city", "city 1") == "not_an_authority"


def test_a_key_votes_for_one_and_signs_nothing_else(ledger):
    taken = [signer("authority 1"), signer("admin 1"), signer("city gateway")]
    for key in taken:
        rotated = AuthorityRotate(key.public_key, PeerId("new"))
        assert ledger.refuses(rotated, "authority-2", "admin 2") == "key_taken"
    broken = AuthorityRotate(b"\x02" + b"\xff" * 32, PeerId("new"))
    assert ledger.refuses(broken, "authority-2", "admin 2") == "invalid_key"
    for peer in ("authority-peer-1", "city-gateway-peer"):
        rotated = AuthorityRotate(CITY.key, PeerId(peer))
        assert ledger.refuses(rotated, "authority-2", "admin 2") == "peer_taken"


def test_who_is_convicted_is_left_out_once_there_is_room(ledger):
    ledger.block(offences=((0, 3, 1), (0, 5, 1)))
    assert waiting(ledger.reader).offenders == (signer("authority 1").public_key,)
    go_to(ledger, EPOCH)
    assert names(ledger, 2) == FOUNDERS, "never fewer than four"
    adopt(ledger, CITY)
    say_ready(ledger, "city votes")
    go_to(ledger, 2 * EPOCH)
    assert names(ledger, 3) == [*FOUNDERS, "city"]
    go_to(ledger, 3 * EPOCH)
    assert names(ledger, 4) == ["authority-0", "authority-2", "authority-3", "city"]
    assert waiting(ledger.reader) == Waiting((), ())
    ledger.block(offences=((0, 6, 1),))
    assert waiting(ledger.reader).offenders == (), "a key is convicted once"


def test_a_joiner_that_waits_can_be_called_off(ledger):
    adopt(ledger, CITY)
    adopt(ledger, AuthorityRemove("city"))
    assert waiting(ledger.reader).changes == ()
    gone = measure(AuthorityRemove("city"), ledger.height + 5)
    assert ledger.refuses(gone, "authority-0", "admin 0") == "not_an_authority"
    sits = measure(replace(CITY, organisation="authority-1"), ledger.height + 5)
    assert ledger.refuses(sits, "authority-0", "admin 0") == "is_authority"


def test_what_nobody_can_do_any_more_is_dropped(ledger):
    current = authorities_of(ledger.reader, 1)
    pointless = (
        Change(ChangeKind.REMOVE, "utility", None, None, Height(9)),
        Change(ChangeKind.ADD, "authority-1", CITY.key, CITY.peer, Height(9)),
    )
    kept = next_set(current, Waiting((CITY.key,), pointless), lambda key: True, Height(8))
    assert kept == (current, Waiting((), ()))


def test_so_many_changes_wait(ledger):
    many = tuple(Change(ChangeKind.REMOVE, f"o{i}", None, None, Height(9)) for i in range(CHANGES_MAX))
    changes = Changes(ledger.reader)
    WAITING.put(changes, b"", Waiting((), many))
    context = Context(ledger.genesis, ledger.next_round, is_signed)
    with pytest.raises(InvalidTransaction, match="too_many_candidates"):
        enact_add(changes, context, CITY, Height(9))


def test_seven_may_lose_two_at_once():
    members = tuple(Authority(f"a{i}", signer(f"a{i}").public_key, PeerId(f"p{i}")) for i in range(7))
    offenders = tuple(member.key for member in members[:3])
    decided, left = next_set(AuthoritySet(members), Waiting(offenders, ()), lambda key: True, Height(8))
    assert decided.members == members[2:]
    assert left.offenders == offenders[2:]


# --- numbers and rules -------------------------------------------------------------------------------------


def test_a_parameter_changes_at_its_height(ledger):
    adopt(ledger, ParameterSet(Parameter.BLOCK_TRANSACTIONS_MAX, 1), ahead=6)
    pair = [transaction(ledger.genesis, ACT, "city", "city 1") for _ in range(2)]
    assert ledger.height == 4
    ledger.block(*pair)
    go_to(ledger, 6)
    pair = [transaction(ledger.genesis, ACT, "city", "city 1") for _ in range(2)]
    with pytest.raises(InvalidMessage, match="at most 1 transactions"):
        ledger.block(*pair)
    built = ledger.machine.build(ledger.reader, ledger.execution.frontier, ledger.next_round, pair)
    assert built.transactions == (pair[0],)


def test_a_parameter_keeps_its_limits(ledger):
    for value in (0, 15_001):
        wish = measure(ParameterSet(Parameter.BLOCK_TRANSACTIONS_MAX, value), 20)
        assert ledger.refuses(wish, "authority-0", "admin 0") == "out_of_range"


def test_nobody_executes_by_rules_that_it_does_not_know(ledger):
    adopt(ledger, UpgradePlan(2), ahead=6)
    assert [rules_version(ledger.reader, Height(h)) for h in (5, 6)] == [1, 2]
    for version, at in ((2, 30), (3, 6)):
        late = measure(UpgradePlan(version), at)
        assert ledger.refuses(late, "authority-0", "admin 0") == "not_later"
    go_to(ledger, 5)
    with pytest.raises(Fatal, match="version 2 of the rules"):
        ledger.block()
