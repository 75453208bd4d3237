"""Answers to queries from what a node has stored, all of one height. Floor 6."""

from collections.abc import Sequence
from typing import Any

from p2pledger.chain.genesis import Genesis
from p2pledger.errors import Fatal
from p2pledger.ledger.queries import Answer, Kept, Page, Query, Unanswered
from p2pledger.storage.store import Store
from p2pledger.types import Hash


class StoredChain:
    """A `ledger.queries.ChainReader` over a store, while its tip stays the same."""

    def __init__(self, store: Store, genesis: Genesis) -> None:
        self._store, self.genesis = store, genesis
        tip = store.tip()
        self.height = tip.height
        self.time_ms = tip.header.time_ms if tip.header is not None else genesis.time_ms

    def get(self, key: bytes) -> bytes | None:
        """See `Readable.get`."""
        return self._store.get(key)

    def scan(self, index: str, prefix: bytes, after: bytes, limit: int) -> Sequence[tuple[bytes, bytes]]:
        """See `ChainReader.scan`."""
        return self._store.scan(index, prefix, after, limit)

    def kept(self, transaction_id: Hash) -> Kept | None:
        """See `ChainReader.kept`."""
        located = self._store.locate(transaction_id)
        if located is None:
            return None
        return Kept(located.result.height, located.transaction, located.record)


def answer(store: Store, genesis: Genesis, query: Query, asked: Any, page: Page) -> Answer:
    """Answer a query from the last final block. Reads the disk. Raises: Unanswered, Fatal."""

    def read() -> Answer | Unanswered | Fatal:
        chain = StoredChain(store, genesis)
        try:
            return Answer(chain.height, query.ask(chain, asked, page))
        except (Unanswered, Fatal) as nothing:  # it may be there, of a height that was half read
            return nothing

    found = store.together(read)
    if isinstance(found, Unanswered | Fatal):
        raise found
    return found
