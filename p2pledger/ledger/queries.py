"""What a query is made of: parameters with limits, and one function over the chain. Floor 4, pure.

A module's queries stand beside its rules, as data: `ledger.modules.queries` puts them into one table, from
which the API makes its routes, the command its options, and the documentation its list. A query answers from
indexes and from single rows of the state, page by page in the order of index keys. What becomes final
meanwhile may come before a cursor or after it; nothing that was there is left out or told twice.

The work of a page is bounded: it looks at no more rows of an index than its limit and one, and at a few rows
of the state for each. Four kinds of query look at more. Traces of records do so for each of their items
(`walk`), and open advice where a decision was corrected (`records.decisions`). Traces of lots, totals and
replays go over all that they are about, up to a maximum that the module states, beyond which they are refused
with TOO_MANY_ROWS: half a sum is none. Lists of accesses pass over what is sealed without counting it, so
that no page tells of it: they look at their limit and at what is sealed among it, which the quota of the
mandated organisations bounds.
"""

from collections.abc import Callable, Sequence
from dataclasses import MISSING, dataclass, fields
from functools import cached_property
from typing import Annotated, Any, Generic, NamedTuple, NewType, Protocol, TypeVar, get_origin, get_type_hints

from p2pledger.chain.genesis import Genesis
from p2pledger.chain.transaction import Transaction
from p2pledger.codec import U64, from_json
from p2pledger.errors import InvalidMessage
from p2pledger.ledger.record import Record
from p2pledger.ledger.state import Readable
from p2pledger.types import HASH_BYTES, Hash, Height, Millis

T = TypeVar("T")

Scan = Callable[[str, bytes, bytes, int], Sequence[tuple[bytes, bytes]]]
"""`ChainReader.scan` by itself: index, prefix, after, limit."""

ROWS_MAX = 1_000
"""The most rows of one page."""
ROWS_DEFAULT = 100
AFTER_BYTES_MAX = 512
"""The longest cursor: an index key, or the path to a row of a walk."""

INVALID_PARAMETER = "invalid_parameter"
UNKNOWN_STATUS_LIST = "unknown_status_list"
UNKNOWN_BLOCK = "unknown_block"
PRUNED = "pruned"
TOO_MANY_ROWS = "too_many_rows"
"""What a query may be refused with and no transaction is; for the rest, `errors.Code` has the words."""

TIME_MAX_MS = 2**64 - 1
FromTime = Annotated[U64, "The earliest time of the event, in milliseconds UTC."]
ToTime = Annotated[U64, "The latest time of the event, in milliseconds UTC."]


class Unanswered(Exception):
    """There is nothing to tell: what was asked about is not there. `code` is stable (docs/errors.md)."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code
        self.message = message


class Kept(NamedTuple):
    """What the chain keeps of a transaction. `transaction` is None where its body was dropped."""

    height: Height
    transaction: Transaction | None
    record: Record | None


class ChainReader(Readable, Protocol):
    """The chain up to one height: its state, its indexes, and its transactions by id."""

    @property
    def genesis(self) -> Genesis:
        """The genesis file of the chain."""

    @property
    def height(self) -> Height:
        """The height that everything here is of."""

    @property
    def time_ms(self) -> Millis:
        """The time of that block."""

    def scan(self, index: str, prefix: bytes, after: bytes, limit: int) -> Sequence[tuple[bytes, bytes]]:
        """Up to `limit` rows (key, value) of an index whose key starts with `prefix` and is above `after`."""

    def kept(self, transaction_id: Hash) -> Kept | None:
        """A transaction of the chain; None when it has none of this id."""


@dataclass(frozen=True)
class Page:
    """Which part of an answer is wanted: up to `limit` rows, those after the cursor `after`."""

    after: bytes = b""
    limit: int = ROWS_DEFAULT


@dataclass(frozen=True)
class Found(Generic[T]):
    """A page's items in their order. `next`: the cursor to go on with, None at the end."""

    items: tuple[T, ...]
    next: bytes | None = None


@dataclass(frozen=True)
class Answer:
    """What was found in the chain of this height."""

    height: Height
    found: Found[Any]


@dataclass(frozen=True)
class Parameter:
    """One parameter of a query. `annotation` says what it may be, as a payload's field does."""

    name: str
    annotation: Any
    meaning: str
    default: Any
    """MISSING when it has to be given."""

    @property
    def is_required(self) -> bool:
        """Whether there is no answer without it."""
        return self.default is MISSING

    @property
    def plain(self) -> Any:
        """The type below the limits: int, str or bytes."""
        return plain_type(self.annotation)

    def read(self, text: str) -> Any:
        """The value that a text stands for: bytes in hexadecimal, numbers in digits.

        Raises: InvalidMessage.
        """
        shown: Any = text
        if self.plain is int:
            if not (text.isascii() and text.isdigit()) or len(text) > 20:
                raise InvalidMessage(f"{self.name}: not a number of at most 20 digits")
            shown = int(text)
        return self.checked(shown)

    def checked(self, shown: Any) -> Any:
        """The value whose JSON form this is. Raises: InvalidMessage."""
        try:
            return from_json(self.annotation, shown)
        except InvalidMessage as error:
            raise InvalidMessage(f"{self.name}: {error}") from None


Ask = Callable[[Any, Any, Page], Found[Any]]
"""Answers from a ChainReader, an instance of the query's parameters and a page. Raises: Unanswered."""


@dataclass(frozen=True)
class Query:
    """One question that can be asked of a chain.

    `asked` is a frozen dataclass of its parameters, whose docstring says what is answered; `item` one of what
    each item is. `name` is the module and the question: `records.by-schema` is asked at
    `/v1/records/by-schema`.
    """

    name: str
    asked: type[Any]
    item: type[Any]
    ask: Ask
    rows_max: int = ROWS_MAX

    @property
    def path(self) -> str:
        """Where the API answers it."""
        return "/v1/" + self.name.replace(".", "/")

    @property
    def rows_default(self) -> int:
        """How many rows a page has unless said otherwise."""
        return min(ROWS_DEFAULT, self.rows_max)

    @property
    def description(self) -> str:
        """What it answers; the first line says it in short."""
        return "\n".join(line.strip() for line in (self.asked.__doc__ or "").strip().splitlines())

    @property
    def summary(self) -> str:
        """The first line of its description."""
        return self.description.partition("\n")[0]

    @cached_property
    def parameters(self) -> tuple[Parameter, ...]:
        """Its parameters, in their order."""
        hints = get_type_hints(self.asked, include_extras=True)
        return tuple(
            Parameter(each.name, hints[each.name], _meaning(hints[each.name]), each.default)
            for each in fields(self.asked)
        )


def plain_type(annotation: Any) -> Any:
    """What is left of an annotation without its limits and names."""
    while True:
        if get_origin(annotation) is Annotated:
            annotation = annotation.__origin__
        elif isinstance(annotation, NewType):
            annotation = annotation.__supertype__
        else:
            return annotation


def _meaning(annotation: Any) -> str:
    return next((each for each in getattr(annotation, "__metadata__", ()) if isinstance(each, str)), "")


def one(item: T) -> Found[T]:
    """The answer that is a single item."""
    return Found((item,))


def rows_of(
    reader: ChainReader,
    index: str,
    prefix: bytes,
    page: Page,
    item: Callable[[bytes, bytes], T | None],
    *,
    after: bytes = b"",
    until: bytes | None = None,
) -> Found[T]:
    """A page of an index: the rows whose key starts with `prefix`, is above `after` and below `until`.

    `item` makes an item of a key and its value, or None of a row that is passed over; such a row counts as
    one of the page.
    """
    rows = reader.scan(index, prefix, max(after, page.after), page.limit + 1)
    there = [row for row in rows if until is None or row[0] < until]
    shown = there[: page.limit]
    items = tuple(made for key, value in shown if (made := item(key, value)) is not None)
    return Found(items, shown[-1][0] if len(there) > len(shown) else None)


Step = Callable[[bytes, bytes, int], Sequence[bytes]]
"""The ids that an id leads to, in a stable order: those after a given one, so many at most."""


def walk(start: bytes, step: Step, page: Page, depth_max: int) -> Found[tuple[bytes, ...]]:
    """A page of all paths from `start` along `step`, each before its extensions, up to a depth.

    An item is a path without its start, and the cursor is the last item's path; ids have 32 bytes. An id
    that several paths lead to comes once for each. It takes one step for each item, and one for each level.
    Raises: Unanswered when the cursor is not of such a walk.
    """
    if len(page.after) % HASH_BYTES:
        raise Unanswered(INVALID_PARAMETER, "after: not a cursor of this query")
    ids = range(0, len(page.after), HASH_BYTES)
    path = tuple(page.after[at : at + HASH_BYTES] for at in ids)[:depth_max]
    waiting: list[tuple[tuple[bytes, ...], list[bytes]]] = []
    """Of each level that was entered: the path to it, and what of it is to be told still, the last first."""

    def enter(before: tuple[bytes, ...], after: bytes) -> None:
        found = step(before[-1] if before else start, after, page.limit + 1)
        waiting.append((before, list(reversed(found))))

    for level, id_ in enumerate(path):
        enter(path[:level], id_)
    if len(path) < depth_max:
        enter(path, b"")
    items: list[tuple[bytes, ...]] = []
    while waiting:
        before, rest = waiting[-1]
        if not rest:
            waiting.pop()
            continue
        if len(items) == page.limit:
            return Found(tuple(items), b"".join(items[-1]))
        items.append((*before, rest.pop()))
        if len(items[-1]) < depth_max:
            enter(items[-1], b"")
    return Found(tuple(items))
