"""Which offences the chain has recorded, so that a start knows them again. Floor 6.

Evidence of what is recorded already makes a block invalid: a node that forgot would vote for one that
the others refuse.

A change of the authority list rests on the same facts, and has to find them alike at every node. The list
that the boundary block of an epoch decides on leaves out who is named by `Situation.recorded` of that
block's parent: that is a function of the chain below it, final or not. `of_epoch` gives the final part of
it with the heights, lowest first, for changes that wait their turn behind a limit.
"""

from collections.abc import Iterator
from itertools import islice

from p2pledger.chain.authority import AUTHORITIES_MAX, AuthoritySet
from p2pledger.chain.block import FinalBlock
from p2pledger.chain.genesis import Genesis
from p2pledger.chain.vote import Offence
from p2pledger.consensus.checks import EVIDENCE_OF_ONE_MAX
from p2pledger.consensus.diagnosis import Accusation
from p2pledger.ledger.rules import IndexRow
from p2pledger.storage.store import Store
from p2pledger.types import Epoch, Height, View

INDEX = "offences"
PAGE_MAX = AUTHORITIES_MAX * EVIDENCE_OF_ONE_MAX
"""Offences of one answer: as many as one epoch can have."""

_SCAN = 1_024


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


def page(store: Store, genesis: Genesis, from_epoch: Epoch) -> tuple[tuple[Accusation, ...], Epoch | None]:
    """What is recorded of this epoch and of later ones, by epoch, view and signer, with names.

    Of whole epochs, PAGE_MAX at most; the second is the epoch to go on with, None at the end.
    """
    after = (from_epoch * 2**72 - 1).to_bytes(17, "big") if from_epoch else b""
    found = list(islice(_scan(store, b"", after), PAGE_MAX + 1))
    next_epoch = found[-1][0][0] if len(found) > PAGE_MAX else None
    lists: dict[Epoch, AuthoritySet] = {}
    told = []
    for (epoch, view, signer), height in found:
        if epoch != next_epoch:
            authorities = lists.setdefault(epoch, authorities_of(store, genesis, epoch))
            told.append(Accusation(epoch, view, authorities.members[signer].organisation, True, height))
    return tuple(told), next_epoch


def authorities_of(store: Store, genesis: Genesis, epoch: Epoch) -> AuthoritySet:
    """The list of an epoch in which somebody was accused."""
    if epoch < 2:
        return (genesis.authorities, genesis.next_authorities)[epoch]
    boundary = store.boundary(Epoch(epoch - 2))
    assert boundary is not None, "nobody is accused before the list that names it is decided"
    return boundary.next_set


def _of(store: Store, epoch: int) -> Iterator[tuple[Offence, Height]]:
    prefix = epoch.to_bytes(8, "big")
    return _scan(store, prefix, prefix)


def _scan(store: Store, prefix: bytes, after: bytes) -> Iterator[tuple[Offence, Height]]:
    while page := store.scan(INDEX, prefix, after, _SCAN):
        for key, value in page:
            epoch, view = Epoch(int.from_bytes(key[:8], "big")), View(int.from_bytes(key[8:16], "big"))
            yield (epoch, view, key[16]), Height(int.from_bytes(value, "big"))
        after = page[-1][0]
