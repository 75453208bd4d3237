"""The mirror of the guard against a list of all that was asked for and all that was signed.

What the mirror allows is signed by the true guard, one after the other, sometimes much later; a crash
loses what was not. The mirror never asks for what the guard refuses, never twice for the same, refuses
nothing without need, and takes no vote of its own for a stranger's, nor a stranger's for its own.
"""

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule
from p2pledger.chain.vote import Ballot, Vote, finalise, notarise, skip
from p2pledger.consensus.voice import Voice
from p2pledger.signer.guard import Guard, check_guard
from p2pledger.types import Epoch, Hash, Signature, View
from tests.properties.effort import effort
from tests.properties.test_guard import at, forbids

KINDS = (notarise, finalise, lambda epoch, view, _: skip(epoch, view))
WISHES = st.tuples(
    st.sampled_from([0, 0, 0, 1, 2, -1, -3]), st.sampled_from(KINDS), st.sampled_from([b"a" * 32, b"b" * 32])
)


def signed(ballot: Ballot) -> Vote:
    return Vote(ballot, 0, Signature(bytes(64)))


class VoiceAgainstAList(RuleBasedStateMachine):
    def __init__(self):
        super().__init__()
        self.voice = Voice(0, (Epoch(0), View(0)), ())
        self.guard = Guard()
        self.asked: list[Ballot] = []
        """Asked for in this life, and not signed yet."""
        self.given: list[Ballot] = []
        self.epoch, self.final = Epoch(0), (0, 0)
        self.is_lost = False

    def wished(self, wish) -> Ballot:
        views, kind, block = wish
        highest = max([view for e, view in map(at, self.given + self.asked) if e == self.epoch], default=0)
        return kind(self.epoch, View(max(1, highest + views)), Hash(block))

    @rule(wish=WISHES)
    def wish(self, wish):
        ballot = self.wished(wish)
        before = self.given + self.asked
        is_forbidden = any(forbids(one, ballot) for one in before)
        is_repeated = any((at(one), one.kind) == (at(ballot), ballot.kind) for one in before)
        assert self.voice.allows(ballot) == (not (is_forbidden or is_repeated or self.is_lost))
        if self.voice.allows(ballot):
            self.voice.plan(ballot)
            self.asked.append(ballot)

    @rule()
    @precondition(lambda self: self.asked)
    def sign(self):
        ballot = self.asked.pop(0)
        self.guard = check_guard(self.guard, ballot)  # never refused: that is what the mirror is for
        self.given.append(ballot)
        if ballot.epoch == self.epoch:
            self.voice.record(signed(ballot))

    @rule(epochs_behind=st.integers(0, 1))
    def crash_and_start(self, epochs_behind):
        """As `recovery` does it. The chain's tip may lie in an older epoch than the guard."""
        self.asked, self.is_lost = [], False
        self.epoch = Epoch(max(0, self.epoch - epochs_behind))
        self.voice = Voice(0, self.guard.at, self.guard.ballots())
        self.voice.epoch = self.epoch
        self.voice.floor = (Epoch(self.final[0]), View(self.final[1]))
        self.replay()

    def replay(self):
        for ballot in self.given:
            if ballot.epoch == self.epoch and at(ballot) > self.final:
                self.voice.record(signed(ballot))

    @rule(below=st.integers(0, 3))
    @precondition(lambda self: self.given and not self.asked)
    def make_final(self, below):
        epoch, view = max(map(at, self.given))
        if epoch == self.epoch:
            self.final = max(self.final, (epoch, max(0, view - below)))
            self.voice.prune(self.epoch, View(self.final[1]))

    @rule()
    @precondition(lambda self: self.epoch < 2)
    def end_the_epoch(self):
        self.epoch = Epoch(self.epoch + 1)
        self.final = max(self.final, (self.epoch, 0))
        self.voice.begin_epoch(self.epoch, 0)
        self.replay()

    @rule(which=st.integers(0, 10**6))
    @precondition(lambda self: self.given)
    def meet_an_own_vote(self, which):
        """However old, in whatever certificate: it was this guard's."""
        assert not self.voice.meet(signed(self.given[which % len(self.given)]))

    @rule(wish=WISHES)
    def meet_a_vote_that_may_be_anothers(self, wish):
        ballot = self.wished(wish)
        own = self.given + self.asked
        is_kept = at(ballot) > self.final or at(ballot) >= max(map(at, own), default=(0, 0))
        is_strange = is_kept and ballot not in own
        was_lost, self.is_lost = self.is_lost, self.is_lost or is_strange
        assert self.voice.meet(signed(ballot)) == (is_strange and not was_lost)

    @invariant()
    def it_is_silent_only_when_another_signs_with_this_key(self):
        assert self.voice.is_silent == self.is_lost

    @invariant()
    def it_says_again_what_it_said(self):
        said = [vote.ballot for vote in self.voice.latest(8)]
        assert set(said) <= set(self.given)
        views = {b.view for b in self.given if b.epoch == self.epoch and at(b) > self.final}
        assert {ballot.view for ballot in said} >= set(sorted(views)[-8:])


TestVoiceAgainstAList = VoiceAgainstAList.TestCase
TestVoiceAgainstAList.settings = effort(120, steps=40)
