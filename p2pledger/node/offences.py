"""Which offences the chain has recorded, so that a start knows them again. Floor 6.

Evidence of what is recorded already makes a block invalid: a node that forgot would vote for one that
the others refuse.
"""

from p2pledger.chain.block import FinalBlock
from p2pledger.ledger.rules import IndexRow
from p2pledger.storage.store import Store
from p2pledger.types import Epoch, View

INDEX = "offences"
_PAGE = 1_024


def rows(block: FinalBlock) -> tuple[IndexRow, ...]:
    """What to keep with a block: a row for each offence, by epoch, view and signer."""
    return tuple(
        IndexRow(INDEX, epoch.to_bytes(8, "big") + view.to_bytes(8, "big") + bytes([signer]), b"")
        for epoch, view, signer in (item.offence for item in block.evidence)
    )


def load(store: Store, epoch: Epoch) -> frozenset[tuple[Epoch, View, int]]:
    """The recorded offences that evidence could still name: of this epoch and of those beside it."""
    found: set[tuple[Epoch, View, int]] = set()
    for of in range(max(0, epoch - 1), epoch + 2):  # a liar may sign for the next one ahead of time
        prefix = after = of.to_bytes(8, "big")
        while page := store.scan(INDEX, prefix, after, _PAGE):
            after = page[-1][0]
            found |= {(Epoch(of), View(int.from_bytes(key[8:16], "big")), key[16]) for key, _ in page}
    return frozenset(found)
