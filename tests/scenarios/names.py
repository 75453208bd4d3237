"""The words of the stories: what a block, a ballot or a transaction is called, and back.

N(v1,b1)  X(v2)  F(v1,b1)      the kind, the view and the block; in a later epoch e1v1 for v1
b1  b2  b2'                    a block by its height; a prime for each further one of that height
t1  t2                         transactions
"""

import hashlib
import re
from collections.abc import Iterable

from p2pledger.chain.block import Header
from p2pledger.chain.vote import Ballot, VoteKind, finalise, notarise, skip
from p2pledger.types import Epoch, Hash, View

GENESIS = "genesis"
GENESIS_HASH = Hash(hashlib.sha256(b"the genesis file of the stories").digest())
GENESIS_DIGEST = Hash(hashlib.sha256(b"the genesis block of the stories").digest())

LETTERS = {VoteKind.NOTARISE: "N", VoteKind.SKIP: "X", VoteKind.FINALISE: "F"}
BALLOT = r"[NXF]\([^ )]*\)"

_BALLOT = re.compile(r"([NXF])\(((?:e\d+)?v\d+)(?:,([^ )]+))?\)")
_VIEW = re.compile(r"(?:e(\d+))?v(\d+)")


class Unknown(Exception):
    """A story names what it has not told of."""


class Names:
    """All that has a name in one story."""

    def __init__(self) -> None:
        self._digests: dict[str, Hash] = {GENESIS: GENESIS_DIGEST}
        self._blocks: dict[Hash, str] = {GENESIS_DIGEST: GENESIS}
        self._expected: dict[Hash, Header] = {}
        self._transactions: dict[Hash, str] = {}

    def transaction(self, name: str) -> Hash:
        """The id of the transaction with this name."""
        transaction_id = Hash(hashlib.sha256(name.encode()).digest())
        self._transactions[transaction_id] = name
        return transaction_id

    def transactions(self, ids: Iterable[Hash]) -> str:
        """Their names."""
        return " ".join(sorted(self._transactions[i] for i in ids))

    def add_block(self, header: Header, name: str | None = None) -> str:
        """Name a block, by its height unless a name is given; what has a name keeps it."""
        if header.digest in self._blocks:
            return self._blocks[header.digest]
        if name is None:
            name = f"b{header.height}"
            while name in self._digests:
                name += "'"
        elif name in self._digests:
            raise Unknown(f"there is a block {name} already")
        self._digests[name], self._blocks[header.digest] = header.digest, name
        return name

    def expect_block(self, header: Header) -> None:
        """A block that gets its name when it is first spoken of: a leader's plans may come to nothing."""
        self._expected[header.digest] = header

    def block(self, digest: Hash) -> str:
        """The name of a block."""
        return self._blocks.get(digest) or self.add_block(self._expected[digest])

    def digest(self, name: str) -> Hash:
        """The digest of a block by name."""
        if name not in self._digests:
            raise Unknown(f"no block is called {name}")
        return self._digests[name]

    def ballot(self, ballot: Ballot) -> str:
        """Such as N(v1,b1)."""
        block = "" if ballot.kind is VoteKind.SKIP else f",{self.block(ballot.digest)}"
        return f"{LETTERS[ballot.kind]}({view(ballot.epoch, ballot.view)}{block})"

    def ballots(self, ballots: Iterable[Ballot]) -> str:
        """Several, in their order."""
        return " ".join(self.ballot(ballot) for ballot in ballots)

    def read_ballot(self, text: str) -> Ballot:
        """The ballot that `ballot` writes so."""
        match = _BALLOT.fullmatch(text)
        if match is None or (match[1] == "X") != (match[3] is None):
            raise Unknown(f"{text} is no ballot")
        epoch, at = read_view(match[2])
        if match[3] is None:
            return skip(epoch, at)
        return (notarise if match[1] == "N" else finalise)(epoch, at, self.digest(match[3]))


def view(epoch: Epoch, at: View) -> str:
    """Such as v3, or e1v3 in a later epoch."""
    return f"e{epoch}v{at}" if epoch else f"v{at}"


def read_view(text: str) -> tuple[Epoch, View]:
    """The view that `view` writes so."""
    match = _VIEW.fullmatch(text)
    if match is None:
        raise Unknown(f"{text} is no view")
    return Epoch(int(match[1] or 0)), View(int(match[2]))
