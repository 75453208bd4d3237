"""What a node answers to those who ask it: pages of what it holds. Floor 6.

Reads only, and knows no network: the simulator's nodes answer with the same code.
"""

from collections.abc import Iterable, Iterator, Sequence
from typing import Protocol

from p2pledger.chain.message import (
    BlocksRequest,
    BodiesRequest,
    BoundariesRequest,
    Certificates,
    CertificatesRequest,
    ProposalsRequest,
    Reply,
    Request,
)
from p2pledger.chain.transaction import BATCH_BYTES_MAX, Batch, Transaction
from p2pledger.consensus import catchup
from p2pledger.consensus.situation import Situation
from p2pledger.storage.store import Store
from p2pledger.types import Epoch, Hash, Height

PAGE_BLOCKS = 16
"""Read at once: what a page holds in memory is small, and a slow peer pushes back."""


class Bodies(Protocol):
    """Where verified transactions are found that are not in the chain yet."""

    def get(self, transaction_id: Hash) -> Transaction | None:
        """A transaction by id."""


def answers(request: Request, s: Situation, store: Store, pending: Bodies) -> Iterator[Reply]:
    """The replies to a request, in order; none when this node has nothing of what is asked."""
    match request:
        case BoundariesRequest(from_epoch, count):
            for epoch in range(from_epoch, from_epoch + count):
                if (boundary := store.boundary(Epoch(epoch))) is None:
                    return
                yield boundary
        case BlocksRequest(from_height, count):
            for start in range(from_height, from_height + count, PAGE_BLOCKS):
                page = store.blocks(Height(start), min(PAGE_BLOCKS, from_height + count - start))
                yield from page
                if len(page) < PAGE_BLOCKS:
                    return
        case BodiesRequest(ids):  # what was dropped is left out: the asker turns to another peer
            yield from _batches(_bodies(ids, store, pending))
        case CertificatesRequest(epoch, from_view, to_view):
            if epoch == s.epoch and (found := catchup.certificates_between(s, from_view, to_view)):
                yield Certificates(tuple(found))
        case ProposalsRequest(epoch, digests):
            proposals = (catchup.unfinal_proposal(s, digest) for digest in digests)
            yield from (p for p in proposals if p is not None and epoch == s.epoch)


def _bodies(ids: Sequence[Hash], store: Store, pending: Bodies) -> list[Transaction]:
    waiting = [t for i in ids if (t := pending.get(i)) is not None]
    known = {t.id for t in waiting}
    return [*waiting, *store.bodies([i for i in ids if i not in known])]


def _batches(transactions: Iterable[Transaction]) -> list[Batch]:
    batches: list[list[bytes]] = []
    size = BATCH_BYTES_MAX
    for transaction in transactions:
        if size + len(transaction.encoded) > BATCH_BYTES_MAX:
            batches.append([])
            size = 0
        batches[-1].append(transaction.encoded)
        size += len(transaction.encoded)
    return [Batch(tuple(batch)) for batch in batches]
