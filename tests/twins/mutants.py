"""Broken rules, for a test to switch on: the campaign must catch each."""

from dataclasses import replace

from p2pledger.chain import authority
from p2pledger.chain.block import Justification, Proposal
from p2pledger.chain.vote import Ballot, VoteKind
from p2pledger.consensus import leading, voting
from p2pledger.consensus.situation import Situation
from p2pledger.consensus.voice import Voice
from p2pledger.signer.guard import Guard
from p2pledger.types import Hash, View
from pytest import MonkeyPatch
from tests.twins import actors


def two_are_a_quorum(patch: MonkeyPatch) -> None:
    """(R1) Two quorums of two need not share anybody."""
    patch.setattr(authority, "quorum", lambda n: n // 2)


def final_after_skip(patch: MonkeyPatch) -> None:
    """(R2) F is signed in a view in which X was: core and guard forget their X when F is asked for.

    (The other order needs a restart: a core that signs F in a view has left it, and never skips it.)
    """
    allows, check_guard = Voice.allows, actors.check_guard

    def forgetful(voice: Voice, ballot: Ballot) -> bool:
        fields = voice._fields
        if ballot.kind is VoteKind.FINALISE:
            voice._fields = {kind: voted for kind, voted in fields.items() if kind is not VoteKind.SKIP}
        is_allowed = allows(voice, ballot)
        voice._fields = fields
        return is_allowed

    def lenient(guard: Guard, ballot: Ballot) -> Guard:
        is_skipped = guard.is_skipped and ballot.kind is not VoteKind.FINALISE
        return check_guard(replace(guard, is_skipped=is_skipped), ballot)

    patch.setattr(Voice, "allows", forgetful)
    patch.setattr(actors, "check_guard", lenient)


def unjustified_parents(patch: MonkeyPatch) -> None:
    """(R4) Leaders build on the highest notarised block they know, whatever lies above; voters agree."""

    def choose(s: Situation) -> tuple[Hash, View] | None:
        for view in range(s.view - 1, s.final_view, -1):
            notarised = s.tally.notarised.get(View(view))
            if notarised is not None and s.tree.is_executed(notarised.ballot.digest):
                return notarised.ballot.digest, View(view)
        return None if s.is_final_awaited else (s.tree.root.digest, s.final_view)

    def justify(s: Situation, parent_view: View) -> Justification:
        held = [s.tally.skipped.get(View(view)) for view in range(parent_view + 1, s.view)]
        parent = s.tally.notarised.get(parent_view)
        if parent is None and s.final_view == parent_view:
            parent = s.tally.final
        return Justification(parent, tuple(c for c in held if c is not None))

    def is_justified(s: Situation, proposal: Proposal) -> bool:
        return True

    patch.setattr(leading, "choose_parent", choose)
    patch.setattr(leading, "justify", justify)
    patch.setattr(voting, "is_justified", is_justified)


MUTANTS = (two_are_a_quorum, final_after_skip, unjustified_parents)
