"""Whether a block is what its place in the chain says it must be. Pure functions of block and parent.

What needs the state (that each transaction succeeds, and what the roots are afterwards) is found out by
executing it; what needs a clock is in `core`.
"""

from collections import Counter
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass

from p2pledger.chain.authority import AuthoritySet
from p2pledger.chain.block import Header, evidence_root, tx_root
from p2pledger.chain.epoch import ends_epoch
from p2pledger.chain.vote import Evidence, Offence
from p2pledger.errors import InvalidMessage
from p2pledger.types import ZERO_HASH, Epoch, Hash, Height, Millis

EVIDENCE_OF_ONE_MAX = 8
"""Of one signer and epoch, known or recorded: a second proof says nothing new, the eighth even less."""


@dataclass(frozen=True)
class Place:
    """What surrounds a block: the epoch it is in, and the parent it says it has."""

    genesis_hash: Hash
    epoch: Epoch
    authorities: AuthoritySet
    offset: int
    epoch_blocks: int
    parent_height: Height
    parent_time_ms: Millis

    @property
    def is_boundary(self) -> bool:
        """Whether the child of this parent is the last block of the epoch."""
        return ends_epoch(self.parent_height + 1, self.epoch, self.epoch_blocks)


def leader_offset(base_digest: Hash, epoch: Epoch, n: int) -> int:
    """Where the rotation of an epoch starts: drawn from the block it grows from; 0 in the first."""
    return int.from_bytes(base_digest[:8], "big") % n if epoch else 0


def check_header(header: Header, place: Place) -> None:
    """Every field that does not need the state. Raises: InvalidMessage, naming the field."""
    leader = place.authorities.leader(header.view, place.offset)
    wrong = {
        "genesis_hash": header.genesis_hash != place.genesis_hash,
        "epoch": header.epoch != place.epoch,
        "view": header.view <= header.parent_view,
        "height": header.height != place.parent_height + 1,
        "time_ms": header.time_ms <= place.parent_time_ms,
        "proposer": header.proposer != leader,
        "next_set_hash": (header.next_set_hash != ZERO_HASH) != place.is_boundary,
    }
    for name, is_wrong in wrong.items():
        if is_wrong:
            raise InvalidMessage(f"the header's {name} is not this round's")


def check_roots(header: Header, transaction_ids: Sequence[Hash], evidence: Sequence[Evidence]) -> None:
    """That ids and evidence are the header's: no signature covers them but through it, so whoever passes
    on a block can put others in their place. To be asked before anything is held.

    Raises: InvalidMessage. The sender is at fault, the block is not.
    """
    if tx_root(transaction_ids) != header.tx_root:
        raise InvalidMessage("the transaction ids are not those of the header")
    if evidence_root(evidence) != header.evidence_root:
        raise InvalidMessage("the evidence is not that of the header")


def check_content(
    transaction_ids: Sequence[Hash],
    evidence: Sequence[Evidence],
    recorded: Collection[Offence],
) -> None:
    """That nothing stands in a block twice, and no evidence of what is recorded already or enough.

    Raises: InvalidMessage.
    """
    if len(set(transaction_ids)) != len(transaction_ids):
        raise InvalidMessage("a transaction id stands twice in a block")
    offences = [item.offence for item in evidence]
    if len(set(offences)) != len(offences) or any(offence in recorded for offence in offences):
        raise InvalidMessage("an offence is recorded twice")
    if len(recordable(evidence, recorded)) < len(evidence):
        raise InvalidMessage("more offences of one authority are recorded than count")


def recordable(evidence: Iterable[Evidence], recorded: Collection[Offence]) -> list[Evidence]:
    """Those of these, in order, that a block may hold after what the chain has recorded.

    A function of the chain, the same at every node: whoever lies could else fill every block with proofs
    against itself.
    """
    of_one = Counter((epoch, signer) for epoch, _, signer in recorded)
    chosen = []
    for item in evidence:
        epoch, _, signer = item.offence
        if item.offence not in recorded and of_one[epoch, signer] < EVIDENCE_OF_ONE_MAX:
            of_one[epoch, signer] += 1
            chosen.append(item)
    return chosen
