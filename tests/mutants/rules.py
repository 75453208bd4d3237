"""The rules marked (R1) to (R8) in PROTOCOL.md, each switched off."""

from dataclasses import replace
from typing import Any

from p2pledger.chain import authority
from p2pledger.chain.authority import faulty
from p2pledger.chain.block import Justification, Proposal
from p2pledger.chain.vote import Ballot, VoteKind
from p2pledger.consensus import catchup, leading, recovery, settling, voting
from p2pledger.consensus.events import Recovered
from p2pledger.consensus.situation import Situation
from p2pledger.consensus.voice import Voice
from p2pledger.signer import local
from p2pledger.signer.guard import Guard, GuardRefused, check_guard
from p2pledger.simulator.disk import MemoryGuard
from p2pledger.simulator.node import Node
from p2pledger.simulator.world import World
from p2pledger.types import Hash, View
from pytest import MonkeyPatch
from tests.mutants.mutant import mutant

Parent = tuple[Hash, View]

# --- R1: how many decide ---------------------------------------------------------------------------------


@mutant("R1", "agreement", "validity", seeds=10, n=6)
def quorum_of_2f_plus_1(patch: MonkeyPatch) -> None:
    """2f+1 of 6 are 3: the two halves of a partition decide each for itself."""
    patch.setattr(authority, "quorum", lambda n: 2 * faulty(n) + 1)


@mutant("R1", "agreement", "validity", seeds=10, n=4)
def quorum_less_one(patch: MonkeyPatch) -> None:
    """Two quorums of 2 of 4 need not share anybody."""
    patch.setattr(authority, "quorum", lambda n: (2 * n + 2) // 3 - 1)


# --- R2: X and F exclude each other ----------------------------------------------------------------------


@mutant("R2; a late F for a skipped view", "equivocation", "agreement", seeds=50)
def final_after_skip(patch: MonkeyPatch) -> None:
    """The skip let others build past the view, and now it is made final."""

    def check(guard: Guard, ballot: Ballot) -> Guard:
        if ballot.kind is VoteKind.FINALISE and guard.at == (ballot.epoch, ballot.view):
            return replace(check_guard(replace(guard, is_skipped=False), ballot), is_skipped=guard.is_skipped)
        return check_guard(guard, ballot)

    allows = Voice.allows

    def allows_late(self: Voice, ballot: Ballot) -> bool:
        skipped = self._fields.get(VoteKind.SKIP)
        if ballot.kind is not VoteKind.FINALISE or skipped is None:
            return allows(self, ballot)
        del self._fields[VoteKind.SKIP]
        is_allowed = allows(self, ballot)
        self._fields[VoteKind.SKIP] = skipped
        return is_allowed

    patch.setattr(local, "check_guard", check)
    patch.setattr(Voice, "allows", allows_late)


@mutant("R2", "equivocation", "agreement", seeds=1_000, needs=["second process"])
def skip_after_final(patch: MonkeyPatch) -> None:
    """A view may then have an X certificate beside its F.

    One process alone never comes to it: the N certificate that its F rests on leads past the view, and is
    saved with the F. A second process with the same key comes to it.
    """

    def check(guard: Guard, ballot: Ballot) -> Guard:
        if ballot.kind is VoteKind.SKIP and guard.at == (ballot.epoch, ballot.view):
            return replace(check_guard(replace(guard, f_digest=None), ballot), f_digest=guard.f_digest)
        return check_guard(guard, ballot)

    allows = Voice.allows

    def allows_beside(self: Voice, ballot: Ballot) -> bool:
        if ballot.kind is VoteKind.SKIP and (ballot.epoch, ballot.view) == self.guard:
            return not self.is_silent and VoteKind.SKIP not in self._fields
        return allows(self, ballot)

    patch.setattr(local, "check_guard", check)
    patch.setattr(Voice, "allows", allows_beside)


@mutant("R2", "equivocation", "agreement", seeds=100, needs=["second process"])
def guard_refuses_nothing(patch: MonkeyPatch) -> None:
    """Each core plans well, but of two processes with one key neither knows the other's plan."""

    def check(guard: Guard, ballot: Ballot) -> Guard:
        try:
            return check_guard(guard, ballot)
        except GuardRefused:
            return guard

    patch.setattr(local, "check_guard", check)


# --- R3: durable, then seen ------------------------------------------------------------------------------


@mutant("R3; a vote visible before its fsync", "equivocation", "agreement", seeds=50)
def vote_before_its_fsync(patch: MonkeyPatch) -> None:
    """A crash takes back what others have seen, and the key contradicts itself."""
    record, crash = MemoryGuard.record, World.crash
    synced: dict[MemoryGuard, MemoryGuard] = {}

    def record_unsynced(self: MemoryGuard, *what: Any) -> None:
        synced[self] = self.copy()
        record(self, *what)

    def crash_losing(self: World, node: Node) -> None:
        if node.is_alive and node.disk.guard in synced:
            node.disk.guard = synced[node.disk.guard]
        crash(self, node)

    patch.setattr(MemoryGuard, "record", record_unsynced)
    patch.setattr(World, "crash", crash_losing)


# --- R4: every view between is skipped -------------------------------------------------------------------


@mutant("R4", "agreement", "fatal", "liveness", seeds=1_000, needs=["BadJustification"])
def justification_unread(patch: MonkeyPatch) -> None:
    """Voters do not ask for the X certificates of the views between a block and its parent."""
    missing = voting.missing_certificates

    def missing_none(s: Situation, proposal: Proposal) -> list[View]:
        missing(s, proposal)
        return []

    patch.setattr(voting, "missing_certificates", missing_none)


@mutant("R4", "agreement", "fatal", "liveness", seeds=200)
def views_passed_over(patch: MonkeyPatch) -> None:
    """Leaders and voters do without those X certificates: a view passed over may be final."""
    justification_unread.patch(patch)
    justify = leading.justify

    def choose(s: Situation) -> Parent | None:
        for view in range(s.view - 1, s.final_view, -1):
            notarised = s.tally.notarised.get(View(view))
            if notarised is not None and s.tree.is_executed(notarised.ballot.digest):
                return notarised.ballot.digest, View(view)
        return None if s.is_final_awaited else (s.tree.root.digest, s.final_view)

    def justify_in_part(s: Situation, parent_view: View) -> Justification:
        unskipped = [View(view) for view in range(parent_view + 1, s.view) if view not in s.tally.skipped]
        return justify(s, max(unskipped, default=parent_view))

    patch.setattr(leading, "choose_parent", choose)
    patch.setattr(leading, "justify", justify_in_part)


# --- R5: the boundary block has no child in its epoch ----------------------------------------------------


@mutant("R5", "liveness", "validity", "fatal", seeds=50)
def boundary_built_upon(patch: MonkeyPatch) -> None:
    """The last block of an epoch is given a child instead of being proposed again, and voters take it."""
    boundary_child_taken.patch(patch)

    def build_on(s: Situation, digest: Hash, view: View) -> None:
        known = s.known(digest)
        assert known is not None
        if s.building != s.view and s.now >= leading.propose_ms(s, digest):
            s.building = s.view
            s.out.work.append(leading._build(s, digest, view, *known))

    patch.setattr(leading, "_propose_again", build_on)


@mutant("R5", "liveness", "validity", "fatal", seeds=1_000, needs=["BoundaryBreaker"])
def boundary_child_taken(patch: MonkeyPatch) -> None:
    """Voters take a child of the boundary block, should a leader be so bold."""
    missing = voting.missing_certificates

    def missing_anyhow(s: Situation, proposal: Proposal) -> list[View]:
        if proposal.header.height == s.boundary_height + 1 and proposal.header.view == proposal.view:
            proposal = replace(proposal, header=replace(proposal.header, height=s.boundary_height))
        return missing(s, proposal)

    patch.setattr(voting, "missing_certificates", missing_anyhow)


# --- R6: whoever lags is given what it lacks -------------------------------------------------------------


@mutant("R6", "liveness", seeds=200)
def status_gives_nothing(patch: MonkeyPatch) -> None:
    """Whoever lags says so, and is given nothing."""
    patch.setattr(catchup, "give", lambda *_: None)


# --- R7: own votes count and are said again after a restart ----------------------------------------------

_replay = recovery.replay


def _replay_as(patch: MonkeyPatch, replay: Any) -> None:
    patch.setattr(recovery, "replay", replay)
    patch.setattr(settling, "replay", replay)


@mutant(
    "R7; own vote missing from the own tally after a whole-network restart",
    "liveness",
    seeds=1_000,
    needs=["crash of all"],
)
def own_votes_not_counted(patch: MonkeyPatch) -> None:
    """Each tells the others and forgets to count itself: one vote is lacking everywhere."""

    def replay(s: Situation, found: Recovered) -> None:
        _replay(s, found)
        for view, votes in s.tally._votes.items():
            s.tally._votes[view] = {slot: held for slot, held in votes.items() if slot[1] != s.voice.index}

    _replay_as(patch, replay)


@mutant("R7", "liveness", seeds=50, needs=["crash of all"])
def own_votes_not_said_again(patch: MonkeyPatch) -> None:
    """What was durable and not yet sent when the crash came is known to nobody else."""

    def replay(s: Situation, found: Recovered) -> None:
        _replay(s, found)
        s.voice.votes.clear()

    _replay_as(patch, replay)


# --- R8: listen before speaking --------------------------------------------------------------------------


@mutant("R8", "silence", seeds=10)
def no_listening(patch: MonkeyPatch) -> None:
    """It votes before anybody could tell it what it voted before."""
    patch.setattr(Voice, "wait", lambda self: self.answered.clear())


@mutant("R8", "silence", "equivocation", seeds=500)
def own_signature_ignored(patch: MonkeyPatch) -> None:
    """It is shown that its guard was restored from a backup, and votes on."""
    patch.setattr(Voice, "fall_silent", lambda self: None)


@mutant(
    "R8; a lost volume taken for a first start",
    "silence",
    "equivocation",
    seeds=200,
    n=4,
    needs=["lost guard"],
    without=own_signature_ignored.patch,
)
def lost_guard_made_anew(patch: MonkeyPatch) -> None:
    """A start that finds no guard makes an empty one: whatever its key signed is forgotten.

    The others would tell it, and nobody listens to them here.
    """
    own_signature_ignored.patch(patch)
    restart = World.restart

    def restart_anew(self: World, number: int) -> None:
        disk = self.nodes[number].disk
        if disk.guard is None and number < self.city.authorities:
            disk.guard = MemoryGuard()
        restart(self, number)

    patch.setattr(World, "restart", restart_anew)


RULES = (
    quorum_of_2f_plus_1,
    quorum_less_one,
    final_after_skip,
    skip_after_final,
    guard_refuses_nothing,
    vote_before_its_fsync,
    justification_unread,
    views_passed_over,
    boundary_built_upon,
    boundary_child_taken,
    status_gives_nothing,
    own_votes_not_counted,
    own_votes_not_said_again,
    no_listening,
    own_signature_ignored,
    lost_guard_made_anew,
)
