"""The guard against a list of every vote that was ever given: no two of them contradict each other.

The oracle does not summarise, as the guard does. It holds each vote that is asked for against each one
that was given, pair by pair, whatever happened in between: a crash, a stop, pruning, a new epoch.
"""

import hashlib
import shutil
from dataclasses import replace
from pathlib import Path

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule
from p2pledger.chain.block import Proposal
from p2pledger.chain.vote import Ballot, Vote, VoteKind, finalise, notarise, skip
from p2pledger.signer.guard import Guard, GuardRefused, Reason, check_guard
from p2pledger.signer.guardfile import GUARD_FILE, GuardFile
from p2pledger.signer.local import LocalSigner, Refused
from p2pledger.types import Epoch, Hash, Signature, View
from tests.properties.effort import effort, scratch
from tests.unit.signer.ballots import KEY, SETS, certificate, proposal, transactions
from tests.unit.storage.chains import GENESIS

N, X, F = VoteKind.NOTARISE, VoteKind.SKIP, VoteKind.FINALISE
TRANSACTIONS = transactions(1)
BLOCKS = {(e, v): proposal(v, TRANSACTIONS, e) for e in range(3) for v in range(1, 40)}


def at(ballot: Ballot) -> tuple[int, int]:
    return ballot.epoch, ballot.view


def forbids(given: Ballot, asked: Ballot) -> Reason | None:
    """Why this vote, once given, forbids that one; None when it does not. PROTOCOL's table, pair by pair."""
    if at(given) > at(asked):
        return Reason.BELOW_GUARD
    if at(given) < at(asked):
        return None
    match given.kind, asked.kind:
        case (VoteKind.SKIP, VoteKind.NOTARISE | VoteKind.FINALISE):
            return Reason.SKIPPED
        case (VoteKind.FINALISE, VoteKind.SKIP):
            return Reason.FINALISED
        case (one, other) if one is other and given.digest != asked.digest:
            return Reason.OTHER_BLOCK
    return None


@st.composite
def near(draw):
    """A ballot by its distance from the highest view voted in: epochs, views, kind, which block."""
    epochs = draw(st.sampled_from([0, 0, 0, 0, 0, 1, 1, -1]))
    views = draw(st.sampled_from([0, 0, 0, 0, 1, 1, 2, -1, -2]))
    return epochs, views, draw(st.sampled_from(list(VoteKind))), draw(st.sampled_from([True, True, False]))


def ballot_near(given: list[Ballot], wish) -> Ballot:
    epochs, views, kind, is_own_block = wish
    epoch, view = max(map(at, given), default=(0, 1))
    epoch = min(max(epoch + epochs, 0), 2)
    view = min(max(view + views, 1), 39) if not epochs else draw_low(view)
    if kind is X:
        return skip(Epoch(epoch), View(view))
    digest = BLOCKS[epoch, view].header.digest if is_own_block else Hash(b"b" * 32)
    return (notarise if kind is N else finalise)(Epoch(epoch), View(view), digest)


def draw_low(view: int) -> int:
    """Views start again in another epoch."""
    return 1 + view % 3


class GuardAgainstAList(RuleBasedStateMachine):
    def __init__(self):
        super().__init__()
        self.guard = Guard()
        self.given: list[Ballot] = []

    @rule(wish=near())
    def ask(self, wish):
        asked = ballot_near(self.given, wish)
        reasons = {forbids(one, asked) for one in self.given} - {None}
        try:
            after = check_guard(self.guard, asked)
        except GuardRefused as refused:
            assert refused.reason in reasons
            return
        assert not reasons
        if asked in self.given:
            assert after == self.guard
        self.guard = after
        self.given.append(asked)

    @invariant()
    def it_is_what_was_given_in_the_highest_view(self):
        highest = max(map(at, self.given), default=(0, 0))
        assert self.guard.at == highest
        assert set(self.guard.ballots()) == {one for one in self.given if at(one) == highest}

    @invariant()
    def nothing_given_contradicts_anything_given_later(self):
        for i, one in enumerate(self.given):
            assert all(forbids(one, later) is None for later in self.given[i:])


class CountingKey:
    """A key whose every signature is another one, so that signing twice shows."""

    def __init__(self):
        self.public_key, self.signatures = KEY.public_key, {}

    def sign(self, digest: Hash) -> Signature:
        made = len(self.signatures).to_bytes(4, "big")
        signature = Signature(hashlib.sha512(made + digest).digest())
        self.signatures[signature] = digest
        return signature


class SignerAgainstAList(RuleBasedStateMachine):
    """The signer on a real file. `pruned` waits in memory for the next write, and is lost by a crash."""

    def __init__(self):
        super().__init__()
        self.root = scratch()
        self.key = CountingKey()
        self.lives = 0
        self.given: list[Vote] = []
        self.kept: list[Vote] = []
        self.certificates, self.finals, self.boundaries = {}, {}, {}
        self.blocks: dict[tuple[int, int], Proposal] = {}
        self.pruned: tuple[int, int] | None = None

    @property
    def directory(self) -> Path:
        return self.root / str(self.lives)

    @property
    def highest(self) -> tuple[int, int]:
        return max((at(one.ballot) for one in self.given), default=(0, 0))

    def open(self) -> None:
        file = GuardFile(self.directory, KEY.public_key, GENESIS.hash)
        self.signer = LocalSigner(self.key, file, GENESIS.hash, SETS.get)

    @initialize()
    def begin(self):
        GuardFile.create(self.directory, KEY.public_key, GENESIS.hash)
        self.open()

    @rule(wish=near(), held=st.lists(near(), max_size=2), with_block=st.sampled_from([True] * 3 + [False]))
    def ask(self, wish, held, with_block):
        ballots = [vote.ballot for vote in self.given]
        asked = ballot_near(ballots, wish)
        certified = [b for b in (ballot_near(ballots, one) for one in held) if b.epoch in SETS]
        block = BLOCKS[at(asked)]
        has_block = with_block and asked.kind is not X and asked.digest == block.header.digest
        if asked.kind is F:  # by then its leader's signature is known; what N brought stays
            block = replace(block, vote=replace(block.vote, signature=Signature(b"l" * 64)))
        brought = (block, TRANSACTIONS) if has_block else (None, ())
        answer = self.signer.sign_vote(asked, [certificate(one) for one in certified], *brought)

        before = [vote for vote in self.given if vote.ballot == asked]
        reasons = {forbids(one, asked) for one in ballots} - {None}
        if asked.epoch not in SETS:
            assert answer == Refused(Reason.NOT_A_MEMBER)
        elif isinstance(answer, Refused):
            assert answer.reason in reasons
        elif before:
            assert [answer] == before, "the same ballot gives the same bytes"
        else:
            assert not reasons, f"{asked} was signed though {reasons}"
            assert self.key.signatures[answer.signature] == asked.sign_digest(
                GENESIS.hash, SETS[asked.epoch].hash
            )
            self.given.append(answer)
            self.kept.append(answer)
            if has_block:
                self.blocks.setdefault(at(asked), block)
        self.note(certified, is_written=certified or (not before and isinstance(answer, Vote)))

    def note(self, certified, *, is_written):
        for one in certified:
            kept = self.finals if one.kind is F else self.certificates
            kept[at(one), one.kind] = one
        if is_written and self.pruned is not None:
            low, self.pruned = self.pruned, None
            floor = min(self.highest, (low[0], low[1] + 1))
            self.kept = [vote for vote in self.kept if at(vote.ballot) >= floor]
            self.certificates = {key: one for key, one in self.certificates.items() if key[0] > low}
            self.blocks = {key: one for key, one in self.blocks.items() if key > low}
            self.finals = dict(sorted(self.finals.items())[-1:])

    @rule(views=st.integers(0, 3))
    @precondition(lambda self: self.given)
    def prune(self, views):
        epoch, view = self.highest
        low = (epoch, max(view - views, 0))
        self.signer.prune(Epoch(epoch), View(low[1]))
        self.pruned = max(self.pruned or low, low)

    @rule(epoch=st.integers(0, 1), view=st.integers(1, 3))
    def end_an_epoch(self, epoch, view):
        last = finalise(Epoch(epoch), View(view), BLOCKS[epoch, view].header.digest)
        self.signer.keep_boundary(certificate(last))
        self.boundaries[epoch] = last

    @rule()
    def stop_and_start(self):
        self.signer.close()
        self.pruned = None
        self.open()

    @rule()
    def crash_and_start(self):
        """What the files hold at this moment is all there is afterwards."""
        before, old = self.directory, self.signer
        self.lives += 1
        self.directory.mkdir()
        for file in (GUARD_FILE, f"{GUARD_FILE}-wal"):
            if (before / file).exists():
                shutil.copy(before / file, self.directory / file)
        old.close()
        self.pruned = None
        self.open()

    @invariant()
    def the_file_holds_what_it_should(self):
        found = self.signer.load()
        assert found.guard.at == self.highest
        assert set(found.guard.ballots()) == {v.ballot for v in self.given if at(v.ballot) == self.highest}
        assert sorted(found.votes, key=repr) == sorted(self.kept, key=repr)
        assert {at(c.ballot): c.ballot for c in found.certificates if c.ballot.kind is N} == {
            key[0]: one for key, one in self.certificates.items() if one.kind is N
        }
        assert len(found.certificates) == len(self.certificates)
        newest = max(self.finals, default=None, key=lambda key: key[0])
        assert (found.final.ballot if found.final else None) == (self.finals[newest] if newest else None)
        assert {e: c.ballot for e, c in found.boundaries.items()} == self.boundaries
        assert {(p.epoch, p.view): p for p in found.proposals} == self.blocks
        assert found.bodies == (TRANSACTIONS if self.blocks else ())

    def teardown(self):
        if hasattr(self, "signer"):
            self.signer.close()
        shutil.rmtree(self.root)


TestGuardAgainstAList = GuardAgainstAList.TestCase
TestGuardAgainstAList.settings = effort(60)
TestSignerAgainstAList = SignerAgainstAList.TestCase
TestSignerAgainstAList.settings = effort(40)
