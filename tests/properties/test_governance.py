"""Governance's invariants under any run of proposals, votes, evidence and epochs."""

from dataclasses import replace

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule
from p2pledger.chain.genesis import LAN
from p2pledger.chain.payloads import MEASURES
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
from p2pledger.codec import decode, encode
from p2pledger.errors import InvalidTransaction
from p2pledger.ledger.modules.governance import authorities_of, rules_version, value_at
from p2pledger.ledger.modules.governance.rows import POLLS, Status
from p2pledger.ledger.modules.registry import organisation
from p2pledger.simulator.invariants.governance import GovernanceInvariants
from p2pledger.types import ZERO_HASH, Hash, Height, Millis, PeerId
from tests.ledgers import START_MS, Ledger, genesis, signer, transaction
from tests.properties.effort import effort

EPOCH = 3
GENESIS = genesis(parameters=replace(LAN, epoch_blocks=EPOCH))
ADMINS = {"city": "city 1", "utility": "utility 1"} | {f"authority-{i}": f"admin {i}" for i in range(4)}
organisations = st.sampled_from(sorted(ADMINS))
key_numbers = st.integers(0, 4)
ahead = st.sampled_from([0, 1, 2, 6, 6, 6])
values = st.sampled_from([0, 1, 2, 1_023, 1_024, 15_000, 15_001, 2**26, 2**26 + 1])


def consensus_key(name: str, number: int):
    return signer(f"{name} votes with {number}")


def to_add(name: str, number: int) -> AuthorityAdd:
    return AuthorityAdd(name, consensus_key(name, number).public_key, PeerId(f"{name}-{number}"))


measures = st.one_of(
    st.builds(to_add, st.sampled_from(["city", "utility"]), st.integers(0, 1)),
    st.builds(AuthorityRemove, st.sampled_from(["city", "utility", "authority-3"])),
    st.builds(ParameterSet, st.sampled_from(Parameter), st.sampled_from([2_000, 3_000])),
    st.builds(UpgradePlan, st.integers(2, 4)),
)


class Governance(RuleBasedStateMachine):
    """Hands in anything; what is accepted goes into books of their own, which have to agree."""

    def __init__(self):
        super().__init__()
        self.ledger, self.books = Ledger(GENESIS), GovernanceInvariants(GENESIS)
        self.proposals: list[bytes] = [ZERO_HASH]

    def block(self, *taken, offences=()):
        at = self.ledger.next_round
        execution = self.ledger.block(*taken, offences=offences)
        for one in taken:
            self.books.apply(one, at.height, at.time_ms)
            if one.body.kind == GovPropose.KIND:
                proposal = decode(GovPropose, one.body.payload)
                measure = decode(MEASURES[proposal.kind], proposal.measure)
                self.books.check(measure, proposal.activation_height)
            for adopted, measure, from_height in self.books.take_adopted():
                self.enact(adopted, measure, from_height)
        self.books.convict(offences)
        if at.height % EPOCH == 0:
            assert execution.next_set == self.books.close(at.height)
        else:
            assert execution.next_set is None

    def enact(self, proposal, measure, from_height):
        """Of two measures that conflict the second fails, and changes nothing."""
        status = POLLS.get(self.ledger.reader, Hash(proposal)).status
        try:
            self.books.enact(measure, from_height)
        except ValueError:
            assert status is Status.FAILED
        else:
            assert status is Status.ADOPTED

    def hand_in(self, payload, name: str):
        one = transaction(GENESIS, payload, name, ADMINS[name], expires_ms=self.ledger.time_ms + 60_000)
        try:
            self.ledger.machine.check(self.ledger.reader, self.ledger.next_round, one)
        except InvalidTransaction:
            return
        self.block(one)
        if isinstance(payload, GovPropose):
            self.proposals.append(one.id)

    @rule(by=organisations, whom=organisations, number=key_numbers, ahead=ahead)
    def propose_to_add(self, by, whom, number, ahead):
        self.propose(to_add(whom, number), by, ahead)

    @rule(by=organisations, whom=organisations, ahead=ahead)
    def propose_to_remove(self, by, whom, ahead):
        self.propose(AuthorityRemove(whom), by, ahead)

    @rule(by=organisations, parameter=st.sampled_from(Parameter), value=values, ahead=ahead)
    def propose_to_set(self, by, parameter, value, ahead):
        self.propose(ParameterSet(parameter, value), by, ahead)

    @rule(by=organisations, version=st.integers(2, 4), ahead=st.sampled_from([6, 60, 90]))
    def propose_to_upgrade(self, by, version, ahead):
        # So far ahead that the run ends before: no block can follow rules that nobody has.
        self.propose(UpgradePlan(version), by, 10_000 + ahead)

    @rule(by=st.permutations(range(4)), first=measures, second=measures | st.none(), later=st.integers(0, 1))
    def decide_on_two(self, by, first, second, later):
        """Both are proposed before either is decided on, so that the second may have become impossible."""
        before = len(self.proposals)
        for measure, ahead in ((first, 12), (second or first, 12 + later)):
            far = 10_000 if isinstance(measure, UpgradePlan) else 0
            self.propose(measure, f"authority-{by[0]}", far + ahead)
        for proposal in self.proposals[before:]:
            for voter in by:
                self.hand_in(GovVote(proposal, approves=True), f"authority-{voter}")

    def propose(self, measure, by, ahead):
        at = Height(self.ledger.height + ahead)
        self.hand_in(GovPropose(measure.KIND, encode(measure), at, "b", ZERO_HASH), by)

    @rule(approves=st.sampled_from([True, True, True, False]), data=st.data())
    def vote(self, approves, data):
        proposal = data.draw(st.sampled_from(self.proposals[-3:]))
        for name in data.draw(st.permutations(sorted(ADMINS)))[:5]:
            self.hand_in(GovVote(proposal, approves), name)

    @rule(whom=st.sets(organisations, min_size=1), number=key_numbers)
    def want_to_join(self, whom, number):
        """Some organisations at once, all that it takes."""
        for name in sorted(whom):
            self.propose_to_add("authority-1", name, number, 1 + 2 * len(ADMINS))
            for voter in sorted(ADMINS):
                self.hand_in(GovVote(self.proposals[-1], approves=True), voter)
        for name in sorted(whom):
            self.say_ready(name, number, 0)

    @rule(name=organisations, number=key_numbers, behind=st.sampled_from([0, 0, 0, 2, 5]))
    def say_ready(self, name, number, behind):
        key, at = consensus_key(name, number), Height(max(0, self.ledger.height - behind))
        proof = key.sign(ready_digest(GENESIS.hash, key.public_key, at, ZERO_HASH))
        self.hand_in(AuthorityReady(key.public_key, at, ZERO_HASH, proof), name)

    @rule(name=organisations, number=key_numbers)
    def rotate(self, name, number):
        key = consensus_key(name, number).public_key
        self.hand_in(AuthorityRotate(key, PeerId(f"{name}-{number}")), name)

    @rule(whom=organisations, after_ms=st.sampled_from([1, 20, 30]), by=st.permutations(range(4)))
    def suspend(self, whom, after_ms, by):
        until_ms = Millis(self.ledger.time_ms + after_ms)
        for caller in by[:3]:
            self.hand_in(GovSuspend(whom, until_ms), f"authority-{caller}")

    @rule(data=st.data())
    def convict(self, data):
        epoch = self.ledger.next_round.epoch
        members = authorities_of(self.ledger.reader, epoch).members
        self.block(offences=((epoch, 1, data.draw(st.integers(0, len(members) - 1))),))

    @rule(blocks=st.integers(1, EPOCH))
    def pass_time(self, blocks):
        for _ in range(blocks):
            self.block()

    @invariant()
    def the_books_agree(self):
        epoch = self.ledger.height // EPOCH
        for one in (epoch, epoch + 1):
            members = authorities_of(self.ledger.reader, one)
            assert members == self.books.authorities(one)
            assert len(members) >= 4
        for name in ADMINS:
            row = organisation(self.ledger.reader, name)
            assert row.suspended_until_ms == self.books.suspended.get(name, 0)

    @invariant()
    def what_was_set_holds_from_its_height_on(self):
        reader = self.ledger.reader
        for height in (self.ledger.height, self.ledger.height + 1, self.ledger.height + 9):
            for parameter in Parameter:
                value = value_at(reader, parameter, GENESIS.parameters, Height(height))
                assert value == self.books.value_at(parameter, height)
        for height in (self.ledger.height, self.ledger.height + 10_030, self.ledger.height + 10_100):
            assert rules_version(reader, Height(height)) == self.books.version_at(height)


TestGovernance = Governance.TestCase
TestGovernance.settings = effort(60, 60)


def test_what_is_in_force_may_be_called_for_again_and_is_counted_anew():
    state = Governance()
    for _ in range(2):
        until_in_ms = 30 - (state.ledger.time_ms - START_MS)
        state.suspend(whom="authority-3", after_ms=until_in_ms, by=[0, 1, 2, 3])
        state.the_books_agree()
    assert state.books.suspended == {"authority-3": START_MS + 30}
