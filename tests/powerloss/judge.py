"""What must hold of a ledger that starts from what a power loss left: promised by the record's marks."""

from collections.abc import Iterable
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field
from itertools import combinations
from pathlib import Path
from random import Random

from p2pledger.chain.vote import Ballot, Vote, VoteKind, finalise, is_contradiction, notarise, skip
from p2pledger.consensus.core import Consensus
from p2pledger.consensus.situation import Setting
from p2pledger.crypto import is_signed
from p2pledger.errors import Fatal
from p2pledger.ledger.machine import Machine
from p2pledger.node.recovery import recovered
from p2pledger.signer.guardfile import GuardFile
from p2pledger.signer.local import LocalSigner, Refused
from p2pledger.storage.sqlite import SqliteStore
from p2pledger.storage.store import Store
from p2pledger.types import Hash
from tests.powerloss.record import Told
from tests.powerloss.workload import GENESIS, GUARD_MADE, KEY, Ledger, make_guard

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


@dataclass
class Opened:
    """The files of an image, opened by the code of every start, up to a core that could go on."""

    signer: LocalSigner
    store: SqliteStore

    def close(self) -> None:
        self.signer.close()
        self.store.close()


def open_image(directory: Path, shown: Shown) -> Opened:
    """Start on an image; a guard whose making was cut short is made first.

    Raises: GuardMissing, Fatal for an image that is refused, though power was lost and nothing else.
    """
    if GUARD_MADE not in shown.states:
        with suppress(Fatal):  # it was whole already, although nobody had been told
            make_guard(directory)
    with ExitStack() as stack:
        store = SqliteStore(directory / "data", GENESIS, Machine(GENESIS).start())
        stack.callback(store.close)
        guard_file = GuardFile(directory / "guard", KEY.public_key, GENESIS.hash)
        signer = LocalSigner(KEY, guard_file, GENESIS.hash, lambda epoch: GENESIS.authorities)
        stack.callback(signer.close)
        setting = Setting(GENESIS.hash, GENESIS.parameters, KEY.public_key, is_signed)
        Consensus(setting, recovered(GENESIS, store, signer.load()), GENESIS.time_ms)
        stack.pop_all()
    return Opened(signer, store)


def check_kept(opened: Opened, shown: Shown) -> None:
    """All that was shown is on disk, and nothing can be signed against it."""
    check_chain(opened.store, shown)
    check_votes(opened.signer, opened.store, shown)


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
        if ballot.kind is not VoteKind.SKIP:
            assert ballot.digest in proposals, f"the block voted for is lost: {ballot}"
            missing = set(proposals[ballot.digest].transaction_ids) - bodies
            assert not missing, f"bodies of the block voted for are lost: {ballot}"
    for vote in list(shown.votes.values())[-RECENT:]:
        for against in _contradicting(vote.ballot):
            answer = signer.sign_vote(against, (), None, ())
            assert isinstance(answer, Refused), f"{vote.ballot} was sent, and now {against} is signed"
        again = signer.sign_vote(vote.ballot, (), None, ())
        assert again == vote or (isinstance(again, Refused) and vote.ballot not in kept)


def _contradicting(ballot: Ballot) -> Iterable[Ballot]:
    epoch, view = ballot.epoch, ballot.view
    match ballot.kind:
        case VoteKind.NOTARISE:
            return (notarise(epoch, view, OTHER),)
        case VoteKind.SKIP:
            return (finalise(epoch, view, OTHER),)
        case _:
            return (finalise(epoch, view, OTHER), skip(epoch, view))


async def check_goes_on(directory: Path, shown: Shown, random: Random) -> None:
    """It makes further blocks on what it had; what an only authority had signed F for is among them."""
    later = shown.copy()
    ledger = Ledger(directory, later.add)
    await ledger.grow(2, random)
    later.check_no_contradiction()
    again = open_image(directory, later)
    try:
        check_kept(again, later)
        chain = {block.header.digest for block in again.store.blocks(1, again.store.tip().height)}
        for ballot in shown.votes:
            assert ballot.kind is not VoteKind.FINALISE or ballot.digest in chain, "a final block is lost"
    finally:
        again.close()
