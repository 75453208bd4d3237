"""The series that a real exporter has, and the series that an expression asks for."""

import re
from collections.abc import Iterator

from p2pledger.api.routes import ROUTES
from p2pledger.consensus.causes import Cause
from p2pledger.errors import Code
from p2pledger.ledger.modules import RULES
from p2pledger.metrics import OTHER, Metrics
from p2pledger.monitoring.recording import recordings

TARGET = {"job", "instance", "chain", "role"}
"""Labels that the scrape configuration gives."""
TARGET_VALUES = {"job": {"p2pledger"}, "role": {"authority", "gateway"}}

_SELECTOR = re.compile(
    r"((?:p2pledger|process|chain|instance|chain_authority)[:_][a-z0-9_:]+|\bup)(\{[^}]*\})?"
)
_MATCHER = re.compile(r'(\w+)(=|!=)"([^"]*)"')

Exported = dict[str, dict[str, set[str]]]
"""By the name of a series: its labels and their values."""


def exported() -> Exported:
    """What a node exports, with the labels of its target; and what the recording rules make of it."""
    metrics = Metrics(
        version="1",
        chain_id="city",
        node="a1",
        authorities=["a1", "a2"],
        kinds=sorted(RULES),
        codes=sorted(Code),
        routes=ROUTES,
        causes=sorted(Cause),
    )
    found: Exported = {"up": {}, **{rule.record: {} for rule in recordings()}}
    for family in metrics.registry.collect():
        for sample in family.samples:
            labels = found.setdefault(sample.name, {})
            for label, value in sample.labels.items():
                labels.setdefault(label, set()).add(value)
    return found


def asked(expr: str) -> Iterator[tuple[str, list[tuple[str, str, str]]]]:
    """Each series that an expression names, and its matchers as label, operator and value."""
    for name, matchers in _SELECTOR.findall(expr):
        yield name, _MATCHER.findall(matchers)


def unknown(expr: str, there: Exported) -> list[str]:
    """What an expression asks for that no node and no rule has."""
    faults = []
    for name, matchers in asked(expr):
        if name not in there:
            faults.append(name)
            continue
        for label, operator, value in matchers:
            values = TARGET_VALUES.get(label) or there[name].get(label, set())
            # What stands for whatever is on no list may come at any time, so it may be left out.
            if value not in values and not (values and (operator, value) == ("!=", OTHER)):
                faults.append(f'{name}{{{label}="{value}"}}')
    return faults
