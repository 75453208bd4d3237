"""Blocks above the final one: who is whose parent, and what executing them came to."""

from collections.abc import Iterator
from dataclasses import dataclass

from p2pledger.chain.authority import AuthoritySet
from p2pledger.chain.block import Header, Proposal
from p2pledger.chain.vote import Evidence
from p2pledger.consensus.events import Judgement
from p2pledger.types import Hash, Height, Millis

BLOCKS_MAX = 8_192
"""Blocks held at once; catching up adds them in pages, so this bounds how far it runs ahead."""


@dataclass
class Block:
    """A block that is not final. `judgement` is None until it was executed."""

    header: Header
    transaction_ids: tuple[Hash, ...]
    evidence: tuple[Evidence, ...]
    judgement: Judgement | None = None
    reason: str = ""
    is_executing: bool = False
    missing: tuple[Hash, ...] = ()
    """The bodies that executing it lacked; they are asked for until an answer brought some."""
    next_set: AuthoritySet | None = None
    proposal: Proposal | None = None
    """How it was proposed; None for one that came as a final block."""

    @property
    def is_valid(self) -> bool:
        """Whether it was executed and all its claims held."""
        return self.judgement is Judgement.VALID


@dataclass(frozen=True)
class Root:
    """The newest final block: what every block of the tree descends from."""

    digest: Hash
    height: Height
    time_ms: Millis


class Tree:
    """The unfinal blocks, by digest."""

    def __init__(self, root: Root) -> None:
        self.root = root
        self._blocks: dict[Hash, Block] = {}

    def __len__(self) -> int:
        return len(self._blocks)

    def __iter__(self) -> Iterator[Block]:
        return iter(tuple(self._blocks.values()))

    def get(self, digest: Hash) -> Block | None:
        """The block with this digest, if it is held and not final."""
        return self._blocks.get(digest)

    def add(self, block: Block) -> Block:
        """Hold a block; the one already held under its digest wins. Below the root nothing is held."""
        digest = block.header.digest
        held = self._blocks.get(digest)
        if held is None and self.root.height < block.header.height and len(self._blocks) < BLOCKS_MAX:
            held = self._blocks[digest] = block
        return held if held is not None else block

    def branch(self, digest: Hash) -> tuple[list[Block], Hash]:
        """The blocks from just above the root up to `digest`, and the digest where the way down ended.

        The way ends at the root's digest when all ancestors are held, else at the first missing one.
        """
        blocks: list[Block] = []
        while digest != self.root.digest and (block := self._blocks.get(digest)) is not None:
            blocks.append(block)
            digest = block.header.parent_digest
        return blocks[::-1], digest

    def is_executed(self, digest: Hash) -> bool:
        """Whether the state after this block is known: it is the root, or was found valid."""
        block = self._blocks.get(digest)
        return digest == self.root.digest or (block is not None and block.is_valid)

    def advance(self, block: Block) -> None:
        """Make a block the root, and forget all that cannot descend from it.

        A descendant is higher and of a later view; what claims both and has no way down to the root
        goes as soon as its own view is passed.
        """
        header = block.header
        self.root = Root(header.digest, header.height, header.time_ms)
        self._blocks.pop(header.digest, None)
        dead: set[Hash] = set()
        for digest, held in sorted(self._blocks.items(), key=lambda item: item[1].header.height):
            parent = held.header.parent_digest
            is_low = held.header.height <= header.height or held.header.view <= header.view
            is_sibling = held.header.height == header.height + 1 and parent != header.digest
            if is_low or is_sibling or parent in dead:
                dead.add(digest)
        for digest in dead:
            del self._blocks[digest]

    def clear(self) -> None:
        """Forget every block but the root: an epoch is over, and none of it has children in the next."""
        self._blocks.clear()
