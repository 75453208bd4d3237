"""Blocks: the header that is voted on, the proposal that carries it, and the block once it is final. Floor 3.

A block's digest is the hash of the canonical encoding of all its header fields. The roots are the roots
after the block, so a header alone says what its state is.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import Annotated

from p2pledger import merkle
from p2pledger.chain.authority import AuthoritySet
from p2pledger.chain.genesis import Genesis
from p2pledger.chain.vote import Certificate, Evidence, Vote
from p2pledger.codec import U8, Length, Range, encode
from p2pledger.crypto import Domain
from p2pledger.types import ZERO_HASH, Epoch, Hash, Height, Millis, View

HEADER_VERSION = 1
BLOCK_TRANSACTIONS_MAX = 15_000
BLOCK_EVIDENCE_MAX = 16
FINAL_BLOCK_BYTES_MAX = 512 * 1024
"""A final block as it is gossiped: header, certificate, ids and evidence. A larger one is not proposed."""
JUSTIFICATION_BYTES_MAX = 256 * 1024
"""Certificates that a proposal carries along; a voter that lacks more of them fetches them."""
JUSTIFICATION_SKIPS_MAX = 1_024
TX_ROOTS_MAX = 16
"""Roots kept: a voter needs a block's when it comes, when it was executed and when it is passed on."""

_HEADER_DOMAIN = Domain("p2pledger/header/1")
_GENESIS_BLOCK_DOMAIN = Domain("p2pledger/genesis-block/1")
_RECEIPTS_DOMAIN = Domain("p2pledger/receipts/1")


@dataclass(frozen=True)
class Header:
    """What a block is, in full. Everything that a vote for its digest commits to."""

    version: Annotated[int, Range(HEADER_VERSION, HEADER_VERSION)]
    genesis_hash: Hash
    epoch: Epoch
    view: View
    height: Height
    parent_digest: Hash
    parent_view: View
    time_ms: Millis
    tx_root: Hash
    state_root: Hash
    receipts_root: Hash
    next_set_hash: Hash
    """On the last block of an epoch the hash of the authority list two epochs later; else zero."""
    evidence_root: Hash
    proposer: U8
    """The position of the leader that made it, in its epoch's list."""

    @cached_property
    def digest(self) -> Hash:
        """The hash of the header: what is voted on, and what a child calls its parent."""
        return _HEADER_DOMAIN.hash(encode(self))


def genesis_digest(genesis: Genesis) -> Hash:
    """The digest that stands for the genesis block: height 0, view 0, certified by nothing."""
    return _GENESIS_BLOCK_DOMAIN.hash(genesis.hash)


def tx_root(transaction_ids: Sequence[Hash]) -> Hash:
    """The RFC 6962 root over a block's transaction ids in their order."""
    return _tx_root(tuple(transaction_ids))


@lru_cache(TX_ROOTS_MAX)
def _tx_root(transaction_ids: tuple[Hash, ...]) -> Hash:
    return merkle.root(merkle.leaf_hashes(transaction_ids))


def evidence_root(evidence: Sequence[Evidence]) -> Hash:
    """The RFC 6962 root over a block's encoded evidence in its order."""
    return merkle.root([merkle.leaf_hash(encode(e)) for e in evidence])


def receipts_root(size: int, root: Hash) -> Hash:
    """The header's commitment to the tree of all results since genesis.

    RFC 6962's root does not say how many leaves it has, and a proof is only as good as that number, so
    the number goes under the hash (where a transparency log puts it in its signed tree head).
    """
    return _RECEIPTS_DOMAIN.hash(size.to_bytes(8, "big") + root)


@dataclass(frozen=True)
class Justification:
    """Why a block may have the parent it has: the parent's certificate, and a skip of every view between.

    `parent` is None only when the parent is view 0 of the epoch. Skips stand by ascending view. They
    are carried up to JUSTIFICATION_BYTES_MAX, the highest views first to be left out: certificates
    prove themselves, so a voter fetches what is left out by epoch and view, from anyone.
    """

    parent: Certificate | None
    skips: Annotated[tuple[Certificate, ...], Length(0, JUSTIFICATION_SKIPS_MAX)]


@dataclass(frozen=True)
class Proposal:
    """A leader's block for its view, with all that a voter needs to judge it but the bodies.

    `vote` is the leader's own N vote: its signature over the header's digest is the proposal's. Its
    view is the proposal's view; only for a boundary block that is proposed again does the header keep
    an older one.
    """

    TAG = 1

    header: Header
    transaction_ids: Annotated[tuple[Hash, ...], Length(0, BLOCK_TRANSACTIONS_MAX)]
    evidence: Annotated[tuple[Evidence, ...], Length(0, BLOCK_EVIDENCE_MAX)]
    justification: Justification
    newest_final: Certificate | None
    vote: Vote

    @property
    def epoch(self) -> Epoch:
        """The epoch that it is proposed in."""
        return self.vote.ballot.epoch

    @property
    def view(self) -> View:
        """The view that it is proposed in."""
        return self.vote.ballot.view


@dataclass(frozen=True)
class FinalBlock:
    """A block that nothing can undo. Bodies travel apart.

    `certificate` makes it final by itself; it is None when only a descendant's does (its own F votes
    never reached a quorum): such a block is believed once a certified one is reached through the
    parents' digests. Its view is the header's, or a later one when a boundary block was proposed again.
    """

    TAG = 8

    header: Header
    transaction_ids: Annotated[tuple[Hash, ...], Length(0, BLOCK_TRANSACTIONS_MAX)]
    evidence: Annotated[tuple[Evidence, ...], Length(0, BLOCK_EVIDENCE_MAX)]
    certificate: Certificate | None


@dataclass(frozen=True)
class Boundary:
    """The end of an epoch, as a light client needs it: who signed it, and who reigns two epochs later."""

    TAG = 7

    header: Header
    certificate: Certificate
    next_set: AuthoritySet


def is_boundary(header: Header) -> bool:
    """Whether this block is the last of its epoch."""
    return header.next_set_hash != ZERO_HASH
