"""Structured logs: one line an event, to standard error, counted by level. Floor 6."""

import logging
import sys
from collections.abc import MutableMapping
from typing import Any

import structlog

from p2pledger.metrics import Metrics
from p2pledger.node.config import LogFormat, LogSection


def set_up_logs(section: LogSection, metrics: Metrics) -> None:
    """Have every logger of this process write lines of this form. Called once, before anything logs.

    Libraries that log by the standard module are heard from `warning` on.
    """
    level = logging.getLevelNamesMapping()[section.level.upper()]

    def count(_: Any, name: str, line: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
        metrics.log_messages_total.at(name).inc()
        return line

    shared: list[Any] = [
        structlog.stdlib.add_log_level,
        count,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.processors.format_exc_info,
    ]
    renderer: Any = (
        structlog.processors.JSONRenderer(sort_keys=True)
        if section.format is LogFormat.JSON
        else structlog.dev.ConsoleRenderer(colors=sys.stderr.isatty())
    )
    structlog.configure(
        processors=[*shared, renderer],
        wrapper_class=structlog.make_filtering_bound_logger(level),
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
        cache_logger_on_first_use=True,
    )
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared,
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, renderer],
        )
    )
    logging.basicConfig(handlers=[handler], level=max(level, logging.WARNING), force=True)
    logging.getLogger("libp2p").setLevel(logging.CRITICAL)  # it logs every broken connection as an error
