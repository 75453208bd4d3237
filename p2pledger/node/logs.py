"""Structured logs: one line an event, to standard error, counted by level and bounded. Floor 6.

Each line is an object with `event`, `level` and `timestamp`, and what docs/OPERATIONS.md says of the event.
What comes by the standard module counts as well: the network's events, and whatever libraries say from
`warning` on, all of it as the event `library`.
"""

import logging
import sys
import time
from collections.abc import Callable, MutableMapping
from typing import Any

import structlog

from p2pledger.metrics import Metrics
from p2pledger.node.config import LogFormat, LogSection

PER_MINUTE_MAX = 600
"""Lines of one event. What is beyond is left out, and the next line of the event says how many were."""
CHARS_MAX = 1_000
"""The longest text in a field; what errors quote may be a peer's."""
EXCEPTION_CHARS_MAX = 16_000
"""Of a traceback, its end."""
LIBRARY = "library"
OWN = "p2pledger"

_PERIOD_S = 60.0
_Line = MutableMapping[str, Any]


class Quota:
    """How many lines of an event may still come."""

    def __init__(self, now_s: Callable[[], float] = time.monotonic) -> None:
        self._now_s = now_s
        self._since_s: dict[str, float] = {}
        self._lines: dict[str, int] = {}
        self._left_out: dict[str, int] = {}

    def take(self, event: str) -> int | None:
        """How many lines of the event were left out before this one; None: this one is to be left out too."""
        now_s = self._now_s()
        if now_s - self._since_s.get(event, -_PERIOD_S) >= _PERIOD_S:
            self._since_s[event], self._lines[event] = now_s, 0
        if self._lines[event] >= PER_MINUTE_MAX:
            self._left_out[event] = self._left_out.get(event, 0) + 1
            return None
        self._lines[event] += 1
        return self._left_out.pop(event, 0)


def set_up_logs(section: LogSection, metrics: Metrics) -> None:
    """Have every logger of this process write lines of this form. Called once, before anything logs."""
    level = logging.getLevelNamesMapping()[section.level.upper()]
    quota = Quota()

    def bound(_: Any, __: str, line: _Line) -> _Line:
        left_out = quota.take(str(line["event"]))
        if left_out is None:
            metrics.log_suppressed_total.inc()
            raise structlog.DropEvent
        return {**line, "suppressed": left_out} if left_out else line

    def count(_: Any, name: str, line: _Line) -> _Line:
        metrics.log_messages_total.at(str(line.get("level", name))).inc()
        return line

    shared: list[Any] = [
        structlog.stdlib.add_log_level,
        count,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.processors.format_exc_info,
        _shortened,
    ]
    renderer: Any = (
        structlog.processors.JSONRenderer(sort_keys=True)
        if section.format is LogFormat.JSON
        else structlog.dev.ConsoleRenderer(colors=sys.stderr.isatty())
    )
    structlog.configure(
        processors=[bound, *shared, renderer],
        wrapper_class=structlog.make_filtering_bound_logger(level),
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
        cache_logger_on_first_use=True,
    )
    handler = _Handler(bound)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=[_told, *shared],
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, renderer],
        )
    )
    logging.basicConfig(handlers=[handler], level=max(level, logging.WARNING), force=True)
    logging.getLogger(OWN).setLevel(level)
    logging.getLogger("libp2p").setLevel(logging.CRITICAL)  # it logs every broken connection as an error


class _Handler(logging.StreamHandler[Any]):
    """Writes what comes by the standard module, as far as the quota goes."""

    def __init__(self, bound: Callable[[Any, str, _Line], _Line]) -> None:
        super().__init__(sys.stderr)
        self._bound = bound

    def emit(self, record: logging.LogRecord) -> None:
        event = record.getMessage() if _is_own(record) else LIBRARY
        try:
            record.suppressed = self._bound(None, "", {"event": event}).get("suppressed")
        except structlog.DropEvent:
            return
        super().emit(record)


def _is_own(record: logging.LogRecord) -> bool:
    return record.name.startswith(f"{OWN}.")


_STANDARD = {*vars(logging.makeLogRecord({})), "message", "asctime", "taskName"}


def _told(_: Any, __: str, line: _Line) -> _Line:
    """What a line of the standard module says: an event of ours with its `extra`, or a library's words."""
    record: logging.LogRecord = line["_record"]
    told = {key: value for key, value in vars(record).items() if key not in _STANDARD and value is not None}
    if _is_own(record):
        return {**line, **told}
    more = {key: told[key] for key in ("suppressed",) if key in told}
    return {**line, "event": LIBRARY, "logger": record.name, "message": line["event"], **more}


def _shortened(_: Any, __: str, line: _Line) -> _Line:
    for key, value in line.items():
        if key == "exception":
            line[key] = value[-EXCEPTION_CHARS_MAX:]
        elif isinstance(value, str) and len(value) > CHARS_MAX:
            line[key] = value[:CHARS_MAX] + "…"
    return line
