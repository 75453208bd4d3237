"""Signed facts that are only ever added to. Floor 4, pure.

A record stands in its transaction, which the chain keeps (`ledger.record`); the state keeps what may
change: the devices' numbers and the corrections. `rows` are the tables and the indexes, `bodies` what may
stand in clear, `rules` the rules, `runs` many records at once, `queries` what can be asked, `decisions` what
humans decided on advice.
Invariants: no number of a device is accepted twice, ranges never overlap; a correction never edits; of a
schema of class personal nothing stands in clear, and no time finer than a day; a body says what its schema
declares, and nothing else.
"""

from p2pledger.ledger.modules.records.rows import (
    ADVICE,
    BY_DEVICE,
    BY_ORGANISATION,
    BY_PLACE,
    BY_REFERENCE,
    BY_SCHEMA,
    CORRECTIONS,
    FUTURE_MAX_MS,
    PUBLISHED,
    Correction,
    corrected_by,
    count_by_schema,
    read_corrected_ahead,
    sequence,
)
from p2pledger.ledger.modules.records.rules import RULES

__all__ = [
    "ADVICE",
    "BY_DEVICE",
    "BY_ORGANISATION",
    "BY_PLACE",
    "BY_REFERENCE",
    "BY_SCHEMA",
    "CORRECTIONS",
    "FUTURE_MAX_MS",
    "PUBLISHED",
    "RULES",
    "Correction",
    "corrected_by",
    "count_by_schema",
    "read_corrected_ahead",
    "sequence",
]
