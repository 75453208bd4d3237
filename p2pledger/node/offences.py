"""Which offences the chain has recorded, so that a start knows them again. Floor 6.

Evidence of what is recorded already makes a block invalid: a node that forgot would vote for one that
the others refuse.

A change of the authority list rests on the same facts, and has to find them alike at every node. The list
that the boundary block of an epoch decides on leaves out who is named by `Situation.recorded` of that
block's parent: that is a function of the chain below it, final or not. `of_epoch` gives the final part of
it with the heights, lowest first, for changes that wait their turn behind a limit.
"""

from collections.abc import Iterator

from p2pledger.chain.block import FinalBlock
from p2pledger.chain.vote import Offence
from p2pledger.ledger.rules import IndexRow
from p2pledger.storage.store import Store
from p2pledger.types import Epoch, Height, View

INDEX = "offences"
_PAGE = 1_024


def rows(block: FinalBlock) -> tuple[IndexRow, ...]:
    """What to keep with a block: a row for each offence, by epoch, view and signer, with the height."""
    height = block.header.height.to_bytes(8, "big")
    return tuple(
        IndexRow(INDEX, epoch.to_bytes(8, "big") + view.to_bytes(8, "big") + bytes([signer]), height)
        for epoch, view, signer in (item.offence for item in block.evidence)
    )


def load(store: Store, epoch: Epoch) -> frozenset[Offence]:
    """The recorded offences that evidence could still name: of this epoch and of those beside it."""
    # A liar may sign for the next epoch ahead of time.
    return frozenset(offence for of in range(max(0, epoch - 1), epoch + 2) for offence, _ in _of(store, of))


def of_epoch(store: Store, epoch: Epoch) -> tuple[tuple[Offence, Height], ...]:
    """The offences of one epoch that final blocks have recorded, each with the height of its block.

    In the order in which they were recorded; those of one block by view and signer. Each stands once.
    """
    return tuple(sorted(_of(store, epoch), key=lambda item: (item[1], item[0])))


def since(store: Store, epoch: Epoch) -> Iterator[tuple[Offence, Height]]:
    """The recorded offences of this epoch and of all later ones, by epoch, view and signer."""
    return _scan(store, b"", (epoch * 2**72 - 1).to_bytes(17, "big") if epoch else b"")


def _of(store: Store, epoch: int) -> Iterator[tuple[Offence, Height]]:
    prefix = epoch.to_bytes(8, "big")
    return _scan(store, prefix, prefix)


def _scan(store: Store, prefix: bytes, after: bytes) -> Iterator[tuple[Offence, Height]]:
    while page := store.scan(INDEX, prefix, after, _PAGE):
        for key, value in page:
            epoch, view = Epoch(int.from_bytes(key[:8], "big")), View(int.from_bytes(key[8:16], "big"))
            yield (epoch, view, key[16]), Height(int.from_bytes(value, "big"))
        after = page[-1][0]
