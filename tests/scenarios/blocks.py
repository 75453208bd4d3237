"""The ledger of a story, by rote: a block is valid unless the story says otherwise, and roots are zero."""

from dataclasses import dataclass

from p2pledger.chain.block import Header, evidence_root, tx_root
from p2pledger.chain.genesis import Parameters
from p2pledger.chain.vote import Evidence
from p2pledger.consensus.events import Build, Built, Executed, Judgement
from p2pledger.types import ZERO_HASH, Epoch, Hash, Height, Millis, View
from tests.scenarios.names import GENESIS_HASH, Names
from tests.scenarios.roster import Roster


@dataclass(frozen=True)
class Content:
    """A block as it was made."""

    header: Header
    ids: tuple[Hash, ...]
    evidence: tuple[Evidence, ...]


class Blocks:
    """All blocks that were made in one story."""

    def __init__(self, names: Names, roster: Roster, parameters: Parameters) -> None:
        self._names, self._roster, self._parameters = names, roster, parameters
        self._made: dict[Hash, Content] = {}
        self.invalid: dict[Hash, str] = {}
        """Why executing a block comes to something else than it claims."""

    def __getitem__(self, digest: Hash) -> Content:
        return self._made[digest]

    def is_last(self, epoch: Epoch, height: Height) -> bool:
        """Whether a block of this height ends the epoch."""
        return height == (epoch + 1) * self._parameters.epoch_blocks

    def make(
        self,
        epoch: Epoch,
        view: View,
        height: Height,
        parent: Hash,
        parent_view: View,
        time_ms: Millis,
        proposer: int,
        ids: tuple[Hash, ...] = (),
        evidence: tuple[Evidence, ...] = (),
    ) -> Content:
        """A block, right in all that its place decides."""
        next_set = self._roster.of(epoch + 2).hash if self.is_last(epoch, height) else ZERO_HASH
        header = Header(
            version=1,
            genesis_hash=GENESIS_HASH,
            epoch=epoch,
            view=view,
            height=height,
            parent_digest=parent,
            parent_view=parent_view,
            time_ms=time_ms,
            tx_root=tx_root(ids),
            state_root=ZERO_HASH,
            receipts_root=ZERO_HASH,
            next_set_hash=next_set,
            evidence_root=evidence_root(evidence),
            proposer=proposer,
        )
        content = self._made[header.digest] = Content(header, ids, evidence)
        self._names.expect_block(header)
        return content

    def build(self, b: Build, pending: set[Hash]) -> Built:
        """What a leader makes of its pending transactions."""
        ids = () if b.is_empty else tuple(sorted(pending))
        made = self.make(
            b.epoch, b.view, b.height, b.parent_digest, b.parent_view, b.time_ms, b.proposer, ids, b.evidence
        )
        return Built(
            b.view, made.header, ids, b.evidence, self._roster.of(b.epoch + 2) if b.is_boundary else None
        )

    def execute(self, header: Header, ids: tuple[Hash, ...], bodies: set[Hash]) -> Executed:
        """What executing a block comes to, for a node that holds these bodies."""
        digest = header.digest
        if missing := tuple(i for i in ids if i not in bodies):
            return Executed(digest, Judgement.MISSING, missing=missing)
        if digest in self.invalid:
            return Executed(digest, Judgement.INVALID, self.invalid[digest])
        next_set = self._roster.of(header.epoch + 2) if self.is_last(header.epoch, header.height) else None
        return Executed(digest, Judgement.VALID, next_set=next_set)
