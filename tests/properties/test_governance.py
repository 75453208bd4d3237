"""Governance's invariants under any run of proposals, votes, evidence and epochs."""

from dataclasses import replace

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule
from p2pledger.chain.genesis import LAN
from p2pledger.chain.payloads.governance import (
    AuthorityAdd,
    AuthorityReady,
    AuthorityRemove,
    AuthorityRotate,
    GovPropose,
    GovSuspend,
    GovVote,
    ready_digest,
)
from p2pledger.codec import encode
from p2pledger.errors import InvalidTransaction
from p2pledger.ledger.modules.governance import authorities_of
from p2pledger.ledger.modules.registry import organisation
from p2pledger.simulator.invariants.governance import GovernanceInvariants
from p2pledger.types import ZERO_HASH, Height, Millis, PeerId
from tests.ledgers import Ledger, genesis, signer, transaction
from tests.properties.effort import effort

EPOCH = 3
GENESIS = genesis(parameters=replace(LAN, epoch_blocks=EPOCH))
ADMINS = {"city": "city 1", "utility": "utility 1"} | {f"authority-{i}": f"admin {i}" for i in range(4)}
organisations = st.sampled_from(sorted(ADMINS))
key_numbers = st.integers(0, 4)
ahead = st.sampled_from([0, 1, 2, 6, 6, 6])


def consensus_key(name: str, number: int):
    return signer(f"{name} votes with {number}")


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
        self.books.convict(offences)
        if at.height % EPOCH == 0:
            assert execution.next_set == self.books.close(at.height)
        else:
            assert execution.next_set is None

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
        key = consensus_key(whom, number).public_key
        self.propose(AuthorityAdd(whom, key, PeerId(f"{whom}-{number}")), by, ahead)

    @rule(by=organisations, whom=organisations, ahead=ahead)
    def propose_to_remove(self, by, whom, ahead):
        self.propose(AuthorityRemove(whom), by, ahead)

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


TestGovernance = Governance.TestCase
TestGovernance.settings = effort(60, 60)
