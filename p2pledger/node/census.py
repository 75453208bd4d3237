"""What the chain came to in the ledger's modules: counted by the block, and the ids of what is open. Floor 6.

Counters move with each stored block. What is open now is a state, so it has to be right after a restart as
well: `begin` reads it out of the chain's indexes page by page, while blocks go on being stored. Whatever a
block says of an id in the meantime stands over what was read. Until that is done the gauges are NaN.
"""

import math
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from threading import Lock

import trio

from p2pledger.chain.payloads import AccessIntent, AccessRefused, AccessServed
from p2pledger.codec import decode
from p2pledger.ledger.execution import Execution
from p2pledger.ledger.modules.consent.data import DUE
from p2pledger.ledger.modules.consent.rows import DATA
from p2pledger.ledger.modules.custody.rows import DISCREPANCIES, Discrepancy
from p2pledger.ledger.modules.governance.proposals import DECISIONS_INDEX, PROPOSALS_INDEX
from p2pledger.ledger.modules.governance.rows import POLLS, Status
from p2pledger.ledger.modules.programs.rows import BY_ACCOUNT, Audited, Driven, Entry, Redeemed, Supplied
from p2pledger.ledger.modules.records import count_by_schema
from p2pledger.ledger.rules import IndexRow, IndexRows
from p2pledger.ledger.state import Readable
from p2pledger.metrics import Metrics
from p2pledger.storage.store import Store
from p2pledger.types import Height

PAGE_ROWS = 500
HEIGHT_BYTES = 8
OF_ALL = b"\0"
"""Where the rows of `DISCREPANCIES` that are of no one organisation begin."""

_DATA_PREFIX = DATA.key(b"")
_OPENING = {DISCREPANCIES, PROPOSALS_INDEX, DECISIONS_INDEX}
_ACCESS = {AccessIntent.KIND: "requested", AccessServed.KIND: "served", AccessRefused.KIND: "refused"}


class _Open:
    """The ids of one kind that are open, and the height that each ends at by itself, or 0."""

    def __init__(self) -> None:
        self.ends: dict[bytes, int] = {}
        self._told: set[bytes] | None = set()
        """What blocks have said since `begin` began; None once it is done."""

    @property
    def is_known(self) -> bool:
        return self._told is None

    def say(self, id_: bytes, end: int | None) -> None:
        """A block opens an id, or closes it with None."""
        if self._told is not None:
            self._told.add(id_)
        self._put(id_, end)

    def found(self, id_: bytes, end: int | None) -> None:
        """The chain has it so; what a block said since counts more."""
        if self._told is not None and id_ not in self._told:
            self._put(id_, end)

    def is_whole(self) -> None:
        """All that the chain has was found."""
        self._told = None

    def _put(self, id_: bytes, end: int | None) -> None:
        if end is None:
            self.ends.pop(id_, None)
        else:
            self.ends[id_] = end


@dataclass(frozen=True)
class _Written:
    """The state's rows that one block wrote."""

    writes: Mapping[bytes, bytes | None]

    def get(self, key: bytes) -> bytes | None:
        return self.writes.get(key)


class Census:
    """Counts what blocks bring, for `metrics`. `take` is for the thread that stores blocks."""

    def __init__(self, store: Store, metrics: Metrics) -> None:
        self._store, self._metrics = store, metrics
        self._lock = Lock()
        self._discrepancies, self._erasures, self._proposals = _Open(), _Open(), _Open()

    def take(self, execution: Execution) -> None:
        """A block was stored."""
        metrics, rows = self._metrics, execution.index_rows
        for schema, count in count_by_schema(rows).items():
            metrics.records_total.at(schema).inc(count)
        for kind, count in execution.kinds.items():
            if kind in _ACCESS:
                metrics.access_total.at(_ACCESS[kind]).inc(count)
        for movement, points in _points(rows).items():
            metrics.programs_points_total.at(movement).inc(points)
        with self._lock:
            if not _OPENING.isdisjoint(rows.columns):  # nearly all rows are records'
                for row in rows:
                    self._take_row(row)
            written = _Written(execution.writes)
            for key in [key for key in execution.writes if key.startswith(_DATA_PREFIX)]:
                data = key[len(_DATA_PREFIX) :]
                self._erasures.say(data, _erasure(written, data))
            self._lapse(execution.height)

    def _take_row(self, row: IndexRow) -> None:
        if row.name == DISCREPANCIES and row.key.startswith(OF_ALL):
            self._discrepancies.say(*_discrepancy(row.value))
        elif row.name == PROPOSALS_INDEX:
            height, proposal = _at_height(row.key)
            self._proposals.say(proposal, height)
        elif row.name == DECISIONS_INDEX:
            self._proposals.say(_at_height(row.key)[1], None)

    def _lapse(self, height: Height) -> None:
        """The next block is too late for proposals that were to work from its height on, or before."""
        over = [proposal for proposal, end in self._proposals.ends.items() if end <= height + 1]
        for proposal in over:
            self._proposals.say(proposal, None)

    async def begin(self) -> None:
        """Find what is open in the chain. Takes turns with the node: it rests as long as a page takes."""
        store, from_height = self._store, (self._store.tip().height + 2).to_bytes(HEIGHT_BYTES, "big")

        def discrepancies(rows: Iterable[tuple[bytes, bytes]]) -> None:
            for _, value in rows:
                self._discrepancies.found(*_discrepancy(value))

        def proposals(rows: Iterable[tuple[bytes, bytes]]) -> None:
            for key, _ in rows:
                height, proposal = _at_height(key)
                poll = POLLS.get(store, proposal)
                is_open = poll is not None and poll.status is Status.OPEN
                self._proposals.found(proposal, height if is_open else None)

        def erasures(rows: Iterable[tuple[bytes, bytes]]) -> None:
            for key, _ in rows:
                data = _at_height(key)[1]
                self._erasures.found(data, _erasure(store, data))

        await self._walk(DISCREPANCIES, OF_ALL, b"", discrepancies)
        self._discrepancies.is_whole()
        await self._walk(PROPOSALS_INDEX, b"", from_height, proposals)
        self._proposals.is_whole()
        await self._walk(DUE, b"", b"", erasures)
        self._erasures.is_whole()

    async def _walk(
        self, index: str, prefix: bytes, after: bytes, take: Callable[[Iterable[tuple[bytes, bytes]]], None]
    ) -> None:
        def page(after: bytes) -> Sequence[tuple[bytes, bytes]]:
            rows = self._store.scan(index, prefix, after, PAGE_ROWS)
            with self._lock:
                take(rows)
            return rows

        while True:
            began = trio.current_time()
            rows = await trio.to_thread.run_sync(page, after)
            if len(rows) < PAGE_ROWS:
                return
            after = rows[-1][0]
            await trio.sleep(trio.current_time() - began)

    def measure(self) -> None:
        """Bring the gauges up to date."""
        metrics = self._metrics
        for gauge, open_ in (
            (metrics.custody_discrepancies_open, self._discrepancies),
            (metrics.consent_erasures_open, self._erasures),
            (metrics.governance_proposals_open, self._proposals),
        ):
            gauge.set(len(open_.ends) if open_.is_known else math.nan)


def _points(rows: IndexRows) -> Counter[str]:
    """How many points came and went by the rows of `BY_ACCOUNT`, by `labels.POINTS`."""
    points: Counter[str] = Counter()
    for value in rows.of_index(BY_ACCOUNT)[1]:
        entry: Entry = decode(Entry, value)
        match entry.what:
            case Driven() | Supplied():
                points["minted"] += entry.what.points
            case Redeemed():
                points["redeemed"] += sum(part.points for part in entry.what.taken)
            case Audited():
                points["revoked"] += sum(part.points for part in entry.what.taken)
    return points


def _discrepancy(value: bytes) -> tuple[bytes, int | None]:
    """The manifest, and whether it is open, as `_Open` has it."""
    one: Discrepancy = decode(Discrepancy, value)
    return one.manifest, 0 if one.accepted_mass_g is None else None


def _erasure(reader: Readable, data: bytes) -> int | None:
    """Whether a resident asked for an erasure that some custodian has still to make, as `_Open` has it."""
    row = DATA.get(reader, data)
    return 0 if row is not None and row.request is not None and not row.is_erased else None


def _at_height(key: bytes) -> tuple[int, bytes]:
    """The number that an index key begins with, and the id behind it."""
    return int.from_bytes(key[:HEIGHT_BYTES], "big"), key[HEIGHT_BYTES:]
