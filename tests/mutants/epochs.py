"""The rules by which authority lists change from epoch to epoch, each broken in turn (PROTOCOL, "epochs")."""

from collections.abc import Iterable
from typing import Any

from p2pledger.chain.vote import Offence
from p2pledger.ledger import work
from p2pledger.ledger.modules import governance
from p2pledger.ledger.modules.governance import authorities, proposals
from p2pledger.ledger.modules.governance.rows import Status
from p2pledger.ledger.rules import Context
from p2pledger.ledger.state import Changes
from pytest import MonkeyPatch
from tests.mutants.mutant import mutant

_next_set = authorities.next_set


@mutant("a joiner is activated once it is ready", "invariant", seeds=60)
def joiner_not_ready(patch: MonkeyPatch) -> None:
    """Whoever was decided on sits, though nobody may hold its key."""

    def decide(current: Any, waiting: Any, is_ready: Any, height: Any) -> Any:
        return _next_set(current, waiting, lambda key: True, height)

    patch.setattr(authorities, "next_set", decide)


@mutant("a list changes at the activation height or later", "invariant", seeds=200)
def change_before_its_height(patch: MonkeyPatch) -> None:
    """What was decided is done at the next boundary."""

    def decide(current: Any, waiting: Any, is_ready: Any, height: Any) -> Any:
        return _next_set(current, waiting, is_ready, height + 1_000)

    patch.setattr(authorities, "next_set", decide)


@mutant("never below four members", "invariant", seeds=400, needs=["DoubleVoter"])
def fewer_than_four(patch: MonkeyPatch) -> None:
    """Evidence removes an authority, however few are left."""
    patch.setattr(authorities, "AUTHORITIES_MIN", 1)


@mutant("evidence removes", "invariant", seeds=400, needs=["DoubleVoter"])
def evidence_forgotten(patch: MonkeyPatch) -> None:
    """What a block shows of a liar has no consequence."""

    def convict(changes: Changes, context: Context, offences: Iterable[Offence]) -> None:
        pass

    patch.setattr(governance, "convict", convict)
    patch.setattr(work.governance, "convict", convict)


@mutant("more than two thirds decide", "invariant", seeds=60)
def adopted_by_half(patch: MonkeyPatch) -> None:
    """A proposal is adopted by half of the authorities."""

    def outcome(poll: Any, sitting: Any) -> Status:
        seated = sum(member.organisation in poll.approving for member in sitting.members)
        return Status.ADOPTED if 2 * seated >= len(sitting) else Status.OPEN

    patch.setattr(proposals, "_outcome", outcome)


EPOCHS = (joiner_not_ready, change_before_its_height, fewer_than_four, evidence_forgotten, adopted_by_half)
