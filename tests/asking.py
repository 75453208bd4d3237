"""The table's queries over a ledger of `tests.ledgers`, as a node answers them over its store.

Imported by tests that hold what can be asked against what was written.
"""

from collections.abc import Sequence
from typing import Any

from p2pledger.ledger.modules.queries import QUERIES
from p2pledger.ledger.queries import Found, Kept, Page, Unanswered
from p2pledger.types import Height, Millis
from tests.ledgers import Ledger


class LedgerChain:
    """A `ledger.queries.ChainReader` over a ledger as it stands. Bodies of `dropped` are not kept.

    With another height or time, as if blocks that write nothing had come.
    """

    def __init__(
        self,
        ledger: Ledger,
        dropped: Sequence[bytes] = (),
        height: int | None = None,
        time_ms: int | None = None,
    ) -> None:
        self._ledger, self._dropped = ledger, dropped
        self.genesis = ledger.genesis
        self.height = Height(ledger.height if height is None else height)
        self.time_ms = Millis(ledger.time_ms if time_ms is None else time_ms)

        self.looked_at = 0
        """How many rows were read, of the state and of indexes."""

    def get(self, key: bytes) -> bytes | None:
        self.looked_at += 1
        return self._ledger.reader.get(key)

    def scan(self, index: str, prefix: bytes, after: bytes, limit: int) -> Sequence[tuple[bytes, bytes]]:
        rows = {row.key: row.value for row in self._ledger.rows if row.name == index}
        found = [(key, rows[key]) for key in sorted(rows) if key.startswith(prefix) and key > after][:limit]
        self.looked_at += len(found)
        return found

    def kept(self, transaction_id: bytes) -> Kept | None:
        if transaction_id not in self._ledger.sent:
            return None
        height, transaction = self._ledger.sent[transaction_id]
        body = None if transaction_id in self._dropped else transaction
        return Kept(height, body, self._ledger.reader.record(transaction_id))


def text_of(value: Any) -> str:
    """A parameter as it stands in a URL: what it may be is checked on the way back."""
    return value.hex() if isinstance(value, bytes) else str(value)


def page(
    chain: LedgerChain, name: str, after: bytes = b"", limit: int = 100, **parameters: Any
) -> Found[Any]:
    """One page of a query. Raises: Unanswered."""
    query = QUERIES[name]
    given = {
        each.name: each.read(text_of(parameters.pop(each.name)))
        for each in query.parameters
        if each.name in parameters
    }
    return query.ask(chain, query.asked(**given, **parameters), Page(after, limit))


def every(
    ledger: Ledger | LedgerChain,
    name: str,
    limit: int = 100,
    dropped: Sequence[bytes] = (),
    **parameters: Any,
) -> list[Any]:
    """The items of all pages of a query. Raises: Unanswered."""
    chain = ledger if isinstance(ledger, LedgerChain) else LedgerChain(ledger, dropped)
    items, after = [], b""
    while True:
        found = page(chain, name, after, limit, **parameters)
        assert len(found.items) <= limit and found.next != after
        items += found.items
        if found.next is None:
            return items
        after = found.next


def code(ledger: Ledger, name: str, dropped: Sequence[bytes] = (), **parameters: Any) -> str:
    """What a query is refused with."""
    try:
        found = every(ledger, name, dropped=dropped, **parameters)
    except Unanswered as error:
        return error.code
    raise AssertionError(f"answered with {found}")
