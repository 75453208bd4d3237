"""What the nodes' files say, read past the nodes: their blocks, and every vote that is anywhere in them."""

import shutil
import sqlite3
import tempfile
from collections import defaultdict
from collections.abc import Iterable
from contextlib import closing
from pathlib import Path
from typing import Any

from p2pledger.chain.block import FinalBlock, Proposal
from p2pledger.chain.vote import Certificate, Vote, VoteKind
from p2pledger.codec import decode
from p2pledger.node.home import DATA, GUARD
from p2pledger.signer.guardfile import Keeping
from p2pledger.types import Hash, Height
from tests.faults.fleet import Fleet

Kept = list[bytes]


def _rows(file: Path, statement: str, *parameters: Any) -> Kept:
    """Rows of a database whose process has ended. Of a copy, so that its recovery is left to the node."""
    with tempfile.TemporaryDirectory() as place:
        for part in file.parent.glob(f"{file.name}*"):
            shutil.copy(part, place)
        with closing(sqlite3.connect(Path(place) / file.name)) as copy:
            return [row[0] for row in copy.execute(statement, parameters).fetchall()]


def _live_rows(file: Path, statement: str, *parameters: Any) -> Kept:
    with closing(sqlite3.connect(f"{file.as_uri()}?mode=ro", uri=True)) as reader:
        return [row[0] for row in reader.execute(statement, parameters).fetchall()]


def _read(fleet: Fleet, name: str, file: str, statement: str, *parameters: Any) -> Kept:
    read = _live_rows if fleet.is_alive(name) else _rows
    return read(fleet.nodes[name].home / file, statement, *parameters)


def blocks_of(fleet: Fleet, name: str) -> list[FinalBlock]:
    """The final blocks in a node's files, in order from height 1."""
    rows = _read(fleet, name, f"{DATA}/chain.db", "SELECT content FROM blocks ORDER BY height")
    blocks: list[FinalBlock] = [decode(FinalBlock, row) for row in rows]
    assert [block.header.height for block in blocks] == list(range(1, len(blocks) + 1))
    return blocks


def places_of(blocks: Iterable[FinalBlock]) -> dict[Hash, list[Height]]:
    """At which heights each transaction is final."""
    places: dict[Hash, list[Height]] = defaultdict(list)
    for block in blocks:
        for transaction_id in block.transaction_ids:
            places[transaction_id].append(block.header.height)
    return places


def votes_of(fleet: Fleet, name: str) -> set[Vote]:
    """Every signed vote in a node's files: its own, and those in certificates and proposals."""
    votes: set[Vote] = set()
    for block in blocks_of(fleet, name):
        if block.certificate is not None:
            votes.update(block.certificate.votes())
    if name not in fleet.authorities:
        return votes

    def kept(keeping: Keeping) -> Kept:
        return _read(fleet, name, f"{GUARD}/guard.db", "SELECT content FROM kept WHERE keeping = ?", keeping)

    votes.update(decode(Vote, row) for row in kept(Keeping.VOTE))
    for keeping in (Keeping.CERTIFICATE, Keeping.FINAL, Keeping.BOUNDARY):
        for row in kept(keeping):
            votes.update(decode(Certificate, row).votes())
    for row in kept(Keeping.PROPOSAL):
        votes.add(decode(Proposal, row).vote)
    return votes


def check_no_contradiction(votes: Iterable[Vote]) -> None:
    """Fail when any signer gave two blocks of a view the same kind of vote, or both skipped and finalised."""
    cast: dict[tuple[int, int, int, VoteKind], set[Hash]] = defaultdict(set)
    for vote in votes:
        ballot = vote.ballot
        cast[ballot.epoch, ballot.view, vote.signer, ballot.kind].add(ballot.digest)
    for (epoch, view, signer, kind), digests in cast.items():
        where = f"authority {signer} in epoch {epoch}, view {view}"
        assert len(digests) == 1, f"{where}: {kind.name} for {len(digests)} blocks"
        is_both = kind is VoteKind.FINALISE and (epoch, view, signer, VoteKind.SKIP) in cast
        assert not is_both, f"{where}: both F and X"


def signers_of(blocks: Iterable[FinalBlock]) -> set[int]:
    """The positions of those whose F votes are in these blocks' certificates."""
    return {v.signer for block in blocks if block.certificate is not None for v in block.certificate.votes()}
