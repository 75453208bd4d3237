"""The tally against a recount: at any time the oracle counts anew, from the list of all messages.

Some signers lie: they sign two blocks of a view, X beside F, or send signatures that are not theirs. What
they say may be lost on the tally; what the others said counts, and whoever contradicts itself is found.
"""

from dataclasses import replace

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule
from p2pledger.chain.vote import Ballot, Certificate, VoteKind, finalise, notarise, skip
from p2pledger.consensus.tally import Tally
from p2pledger.errors import InvalidMessage
from p2pledger.simulator.city import is_keyed_hash
from p2pledger.types import Epoch, View
from tests.properties.effort import effort
from tests.sim.bench import FALSE, Bench, tx
from tests.sim.cluster import GENESIS_HASH, KEYS

E0 = Epoch(0)
N, X, F = VoteKind.NOTARISE, VoteKind.SKIP, VoteKind.FINALISE
BALLOTS = st.builds(
    lambda kind, view, block: kind(E0, View(view), tx(block)),
    st.sampled_from([notarise, finalise, lambda epoch, view, _: skip(epoch, view)]),
    st.sampled_from([1, 1, 1, 2, 3]),
    st.sampled_from([1, 1, 1, 2]),
)
BENCHES = {n: Bench(n) for n in (4, 6, 7)}


def contradict(a: Ballot, b: Ballot) -> bool:
    same_kind = a.kind is b.kind and a.digest != b.digest
    return a.view == b.view and (same_kind or {a.kind, b.kind} == {X, F})


class TallyAgainstARecount(RuleBasedStateMachine):
    @initialize(n=st.sampled_from(list(BENCHES)))
    def begin(self, n):
        self.bench, self.n = BENCHES[n], n
        self.quorum = self.bench.set.quorum
        self.tally = Tally(E0, self.bench.set, GENESIS_HASH, is_keyed_hash)
        self.said: set[tuple[int, Ballot]] = set()
        self.lied: set[tuple[int, int]] = set()
        """Who sent a false signature, and in which view."""
        self.accused: set[tuple[int, int]] = set()
        self.pruned = 0

    # --- messages

    @rule(who=st.integers(0, 6), ballot=BALLOTS, is_false=st.sampled_from([False] * 5 + [True]))
    def vote(self, who, ballot, is_false):
        who %= self.n
        vote = self.bench.vote(who, ballot)
        if is_false:
            self.lied.add((who, ballot.view))
            vote = replace(vote, signature=FALSE)
        else:
            self.said.add((who, ballot))
        self.judge(self.tally.add_vote(vote))

    @rule(who=st.integers(0, 6), ballot=BALLOTS)
    def own_vote(self, who, ballot):
        who %= self.n
        self.said.add((who, ballot))
        self.judge(self.tally.add_vote(self.bench.vote(who, ballot), is_verified=True))

    @rule(ballot=BALLOTS, signers=st.sets(st.integers(0, 6), min_size=1), is_false=st.booleans())
    def certificate(self, ballot, signers, is_false):
        chosen = sorted({who % self.n for who in signers})
        certificate = self.bench.certificate(ballot, tuple(chosen))
        if is_false:
            certificate = replace(certificate, signatures=(FALSE, *certificate.signatures[1:]))
        is_known = ballot in self.held()
        before = self.everything()
        try:
            counted = self.tally.add_certificate(certificate)
        except InvalidMessage:
            assert not is_known and (is_false or len(chosen) < self.quorum)
            assert self.everything() == before
            return
        if is_known:
            assert self.everything() == before and counted.certificate is None
            return
        assert not is_false and len(chosen) >= self.quorum
        self.said |= {(who, ballot) for who in chosen}
        self.judge(counted)

    @rule()
    def prune(self):
        self.tally.prune()
        self.pruned = self.tally.final_view

    # --- the recount

    def judge(self, counted):
        assert all(any(liar == who for who, _ in self.lied) for liar in counted.forgers)
        for evidence in counted.evidence:
            first, second = evidence.first, evidence.second
            assert first.signer == second.signer and contradict(first.ballot, second.ballot)
            assert {(first.signer, first.ballot), (second.signer, second.ballot)} <= self.said
            assert all(vote == self.bench.vote(vote.signer, vote.ballot) for vote in (first, second))
            self.accused.add((first.signer, first.ballot.view))
        if counted.certificate is not None:
            assert counted.certificate.ballot in self.held()

    def held(self) -> dict[Ballot, Certificate]:
        final = [self.tally.final] if self.tally.final is not None else []
        certificates = [*self.tally.notarised.values(), *self.tally.skipped.values(), *final]
        return {certificate.ballot: certificate for certificate in certificates}

    def everything(self):
        votes = [
            self.tally.vote_of(View(view), kind, who)
            for view in (1, 2, 3)
            for kind in VoteKind
            for who in range(self.n)
        ]
        return self.held(), votes

    def honest(self, ballot: Ballot) -> set[int]:
        """Who said this, and nothing else of its kind or false in its view."""
        others = {
            who
            for who, other in self.said
            if (other.view, other.kind) == (ballot.view, ballot.kind) and other != ballot
        }
        liars = {who for who, view in self.lied if view == ballot.view}
        return {who for who, other in self.said if other == ballot} - others - liars

    @invariant()
    def every_certificate_held_is_a_quorum_of_true_votes(self):
        for ballot, certificate in self.held().items():
            votes = certificate.votes()
            assert len({vote.signer for vote in votes}) >= self.quorum
            for vote in votes:
                assert (vote.signer, ballot) in self.said
                digest = ballot.sign_digest(GENESIS_HASH, self.bench.set.hash)
                assert is_keyed_hash(KEYS[vote.signer], digest, vote.signature)

    @invariant()
    def every_quorum_of_honest_votes_is_certified(self):
        held, final_view = self.held(), self.tally.final_view
        for ballot in {ballot for _, ballot in self.said}:
            if len(self.honest(ballot)) < self.quorum:
                continue
            if ballot.kind is F:
                assert final_view >= ballot.view
            elif ballot.view >= final_view:
                assert ballot in held or any((b.kind, b.view) == (ballot.kind, ballot.view) for b in held)

    @invariant()
    def whoever_contradicts_itself_is_accused_and_nobody_else(self):
        guilty = {
            (who, a.view)
            for who, a in self.said
            for other, b in self.said
            if who == other and contradict(a, b)
        }
        assert self.accused <= guilty
        assert guilty - self.lied <= self.accused

    @invariant()
    def the_echo_is_what_was_said_in_the_highest_view(self):
        before = self.everything()
        for who in range(self.n):
            echo = self.tally.highest_votes_of(who)
            assert all((who, vote.ballot) in self.said and vote.signer == who for vote in echo)
            said = [ballot for one, ballot in self.said if one == who]
            if said and who not in {liar for liar, _ in self.lied}:
                highest = max(ballot.view for ballot in said)
                assert {vote.ballot.kind for vote in echo} == {b.kind for b in said if b.view == highest}
                assert {vote.ballot.view for vote in echo} == {highest}
        if not self.lied:
            assert self.everything() == before

    @invariant()
    def what_lies_below_is_forgotten(self):
        assert all(ballot.view >= self.pruned for ballot in self.held())


TestTallyAgainstARecount = TallyAgainstARecount.TestCase
TestTallyAgainstARecount.settings = effort(50, steps=50)
