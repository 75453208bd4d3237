"""What must hold, told from what instances signed and made final; no rule of the core is asked."""

import itertools
from collections.abc import Iterable, Sequence

from p2pledger.chain.block import FinalBlock
from p2pledger.chain.vote import Ballot


class Violation(Exception):
    """The agreement broke a promise."""


def check_chain(name: str, chain: Sequence[FinalBlock]) -> None:
    """One block per height, each the child of the one before. Raises: Violation."""
    for height, block in enumerate(chain, 1):
        if block.header.height != height:
            raise Violation(f"{name} made height {block.header.height} final where {height} was due")
    for parent, child in itertools.pairwise(chain):
        if child.header.parent_digest != parent.header.digest:
            raise Violation(f"{name} made a block final at height {child.header.height} on another parent")


def check_votes(name: str, said: Iterable[Ballot]) -> None:
    """No two votes that exclude each other: two blocks of a view for N or for F, or X with F.

    Raises: Violation.
    """
    blocks: dict[tuple[int, int, str], bytes] = {}
    for ballot in said:
        at = (ballot.epoch, ballot.view, ballot.kind.name)
        if blocks.setdefault(at, ballot.digest) != ballot.digest:
            raise Violation(f"{name} signed two blocks of view {ballot.view} with {ballot.kind.name}")
    for epoch, view, kind in blocks:
        if kind == "SKIP" and (epoch, view, "FINALISE") in blocks:
            raise Violation(f"{name} signed both a skip of view {view} and its finality")


def check_agreement(chains: Sequence[Sequence[bytes]], names: Sequence[str]) -> None:
    """No two instances made different blocks final at one height. Raises: Violation."""
    longest = max(chains, key=len)
    for name, chain in zip(names, chains, strict=True):
        if chain != longest[: len(chain)]:
            height = next(i for i, (a, b) in enumerate(zip(chain, longest, strict=False), 1) if a != b)
            raise Violation(f"{name} and another made different blocks final at height {height}")
