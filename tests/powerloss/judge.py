"""What must hold of a ledger that starts from what a power loss left: promised by the record's marks."""

from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass, field
from itertools import combinations
from pathlib import Path

from p2pledger.chain.vote import Ballot, Vote, VoteKind, finalise, is_contradiction, notarise, skip
from p2pledger.errors import Fatal
from p2pledger.signer.guard import Reason
from p2pledger.signer.local import LocalSigner, Refused
from p2pledger.storage.store import Store
from p2pledger.types import Hash
from tests.powerloss.files import GUARD_MADE, Files, Party
from tests.powerloss.record import Told

OTHER = Hash(b"another block of this view      ")
RECENT = 12
"""So many of the newest votes are asked for again, and contradicted, on every image."""


@dataclass
class Shown:
    """What others had seen when the power went."""

    votes: dict[Ballot, Vote] = field(default_factory=dict)
    blocks: dict[int, Hash] = field(default_factory=dict)
    states: set[str] = field(default_factory=set)

    def add(self, shown: Vote | Told | str) -> None:
        match shown:
            case Vote():
                assert self.votes.setdefault(shown.ballot, shown) == shown, "one ballot, two signatures"
            case Told(height, digest):
                assert self.blocks.setdefault(height, digest) == digest, "two final blocks at one height"
            case _:
                self.states.add(shown)

    def copy(self) -> "Shown":
        return Shown(dict(self.votes), dict(self.blocks), set(self.states))

    def check_no_contradiction(self) -> None:
        """No vote shown speaks against another: neither before the power went nor after."""
        by_view: dict[tuple[int, int], list[Vote]] = {}
        for vote in self.votes.values():
            by_view.setdefault((vote.ballot.epoch, vote.ballot.view), []).append(vote)
        for votes in by_view.values():
            for one, other in combinations(votes, 2):
                assert not is_contradiction(one, other), f"contradiction: {one.ballot} and {other.ballot}"


def open_image(directory: Path, party: Party, shown: Shown) -> Files:
    """Start on an image, up to a core; a guard whose making was cut short is made first.

    Raises: GuardMissing, Fatal for an image that is refused, though power was lost and nothing else.
    """
    if GUARD_MADE not in shown.states:
        with suppress(Fatal):  # it was whole already, although nobody had been told
            party.make_guard(directory)
    files = Files.open(directory, party)
    files.start_core()
    return files


def check_kept(files: Files, shown: Shown) -> None:
    """All that was shown is on disk, and nothing can be signed against it."""
    check_chain(files.store, shown)
    check_votes(files.signer, files.store, shown)


def check_chain(store: Store, shown: Shown) -> None:
    """Every block that a client was told of is there, and no transaction is in the chain twice."""
    tip = store.tip()
    blocks = store.blocks(1, tip.height)
    assert [block.header.height for block in blocks] == list(range(1, tip.height + 1))
    for height, digest in shown.blocks.items():
        assert height <= tip.height, f"block {height} is lost, it was told as final"
        assert blocks[height - 1].header.digest == digest, f"block {height} is another"
    ids = [transaction_id for block in blocks for transaction_id in block.transaction_ids]
    assert len(ids) == len(set(ids)) == tip.frontier.size, "a transaction was executed twice"


def check_votes(signer: LocalSigner, store: Store, shown: Shown) -> None:
    """The guard knows every vote that was shown, and holds what those above the chain's tip rest on."""
    durable = signer.load()
    kept = {vote.ballot: vote for vote in durable.votes}
    proposals = {proposal.header.digest: proposal for proposal in durable.proposals}
    bodies = {transaction.id for transaction in durable.bodies}
    header = store.tip().header
    tip = (header.epoch, header.view) if header is not None else (0, 0)
    for ballot, vote in shown.votes.items():
        at = (ballot.epoch, ballot.view)
        assert at <= durable.guard.at, f"a vote that was sent is lost: {ballot}"
        assert kept.get(ballot, vote) == vote
        if at <= tip:
            continue
        assert ballot in kept, f"a vote that was sent is lost: {ballot}"
        if ballot.kind is VoteKind.NOTARISE:  # F may go to a block that came as a final one
            assert ballot.digest in proposals, f"the block voted for is lost: {ballot}"
            missing = set(proposals[ballot.digest].transaction_ids) - bodies
            assert not missing, f"bodies of the block voted for are lost: {ballot}"
    for vote in list(shown.votes.values())[-RECENT:]:
        for against in _contradicting(vote.ballot):
            answer = signer.sign_vote(against, (), None, ())
            assert isinstance(answer, Refused), f"{vote.ballot} was sent, and now {against} is signed"
        again = signer.sign_vote(vote.ballot, (), None, ())
        # The chain may be so far behind the votes that it does not know the list of their epoch yet.
        is_known = vote.ballot in kept and again != Refused(Reason.NOT_A_MEMBER)
        assert again == vote or not is_known, f"{vote.ballot} was sent, and is not signed again: {again}"


def _contradicting(ballot: Ballot) -> Iterable[Ballot]:
    epoch, view = ballot.epoch, ballot.view
    match ballot.kind:
        case VoteKind.NOTARISE:
            return (notarise(epoch, view, OTHER),)
        case VoteKind.SKIP:
            return (finalise(epoch, view, OTHER),)
        case _:
            return (finalise(epoch, view, OTHER), skip(epoch, view))
