"""What became of each transaction and each block, told to the log and to traces. Floor 6.

A transaction that was accepted and then refused or expired is told at level `info`, by its id. The ids of
those that were accepted and that became final are told at `debug` only, many in a line: at a thousand a
second they would be most of the log. Traces (`node.tracing`) follow a few of them. While nobody follows
anything, each of these costs a comparison for a batch or a block.
"""

import time
from collections.abc import Sequence
from typing import Protocol

import structlog

from p2pledger.chain.block import Header
from p2pledger.chain.transaction import Transaction
from p2pledger.types import Hash, Height

IDS_PER_LINE = 64

_log = structlog.get_logger("p2pledger.trail")


class Tracer(Protocol):
    """Follows some transactions and blocks. Times are of day, in nanoseconds. Called by the loop's thread."""

    def accepted(self, transactions: Sequence[Transaction], began_ns: int, now_ns: int) -> None:
        """A client's transactions were judged from then until now, and are pending."""

    def final(self, ids: Sequence[Hash], height: Height, now_ns: int) -> None:
        """These are final."""

    def ended(self, id_: Hash, code: str, now_ns: int) -> None:
        """This one expired, or was refused with a code."""

    def worked(self, header: Header, step: str, began_ns: int, now_ns: int) -> None:
        """A block was proposed (`propose`), executed (`execute`) or stored (`commit`) from then until now."""


class Trail:
    """Tells the log, when `is_told`, and a tracer, when there is one."""

    def __init__(self, *, is_told: bool = False, tracer: Tracer | None = None) -> None:
        self._is_told, self._tracer = is_told, tracer
        self.is_followed = is_told or tracer is not None
        """Whether anybody wants to know what was accepted."""

    def now_ns(self) -> int:
        """The time to give as the beginning of what follows; 0 while nobody traces."""
        return time.time_ns() if self._tracer is not None else 0

    def accepted(self, source: str, answers: Sequence[object], began_ns: int) -> None:
        """Those of these that are transactions are pending since now; `source` as in the metrics."""
        transactions = [answer for answer in answers if isinstance(answer, Transaction)]
        for some in _lines([transaction.id for transaction in transactions]) if self._is_told else ():
            _log.debug("transactions_accepted", source=source, ids=some)
        if self._tracer is not None and source == "api":
            self._tracer.accepted(transactions, began_ns, time.time_ns())

    def final(self, ids: Sequence[Hash], height: Height) -> None:
        """These are final here."""
        for some in _lines(ids) if self._is_told else ():
            _log.debug("transactions_final", height=height, ids=some)
        if self._tracer is not None:
            self._tracer.final(ids, height, time.time_ns())

    def expired(self, ids: Sequence[Hash]) -> None:
        """These were accepted, and no block can hold them any more."""
        for some in _lines(ids):
            _log.info("transactions_expired", ids=some)
        if self._tracer is not None:
            for id_ in ids:
                self._tracer.ended(id_, "expired", time.time_ns())

    def refused(self, id_: Hash, code: str, why: str) -> None:
        """This one was accepted, and what became final meanwhile leaves no room for it."""
        _log.info("transaction_refused", id=id_.hex(), code=code, why=why)
        if self._tracer is not None:
            self._tracer.ended(id_, code, time.time_ns())

    def worked(self, header: Header, step: str, began_ns: int, ended_ns: int) -> None:
        """See `Tracer.worked`."""
        if self._tracer is not None:
            self._tracer.worked(header, step, began_ns, ended_ns)


def _lines(ids: Sequence[Hash]) -> list[list[str]]:
    shown = [id_.hex() for id_ in ids]
    return [shown[start : start + IDS_PER_LINE] for start in range(0, len(shown), IDS_PER_LINE)]
