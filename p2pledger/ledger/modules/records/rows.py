"""The rows that records leave: devices' numbers, corrections, indexes. Floor 4, pure."""

from collections import Counter
from collections.abc import Collection
from dataclasses import dataclass
from operator import itemgetter

from p2pledger.chain.schema import SCHEMAS
from p2pledger.ledger.modules.sequence import Sequence
from p2pledger.ledger.rules import IndexRows
from p2pledger.ledger.state import Changes, Readable, Table
from p2pledger.types import HASH_BYTES, Hash, Millis


@dataclass(frozen=True)
class Correction:
    """What the state keeps of a record that was wrong. `by` is the correction's transaction."""

    by: Hash


CORRECTED = Table("correction", Correction)
SEQUENCES = Table("sequence", Sequence)
UNNUMBERED = Sequence()

FUTURE_MAX_MS = 120_000
"""How far a device's clock may run ahead of the block's time."""

BY_DEVICE = "records.device"
"""device id | first number (8 bytes) -> last number (8 bytes) | transaction id."""
BY_SCHEMA = "records.schema"
"""schema | 0 | event time (8 bytes) | transaction id."""
BY_ORGANISATION = "records.organisation"
"""organisation | 0 | event time (8 bytes) | transaction id."""
BY_PLACE = "records.place"
"""place | 0 | event time (8 bytes) | transaction id."""
BY_REFERENCE = "records.reference"
"""The record referred to | the record that refers to it: traces forward. The body traces back."""
CORRECTIONS = "records.corrections"
"""The record corrected -> the correction's transaction id."""
ADVICE = "records.advice"
"""organisation | 0 | event time (8 bytes) | advice -> the last record of a human's decision, or empty.

The organisation's own records decide: another's may refer to an advice, and leave it open.
"""

_SCHEMA_OF = itemgetter(slice(-1 - 8 - HASH_BYTES))
"""What schema a key of `BY_SCHEMA` begins with."""

PUBLISHED = "published"
"""What stands for all published schemas where only a closed list of names will do."""


def advice_key(organisation: str, time_ms: Millis, transaction_id: Hash) -> bytes:
    """The key of an advice's row in `ADVICE`."""
    return organisation.encode() + b"\0" + time_ms.to_bytes(8, "big") + transaction_id


def count_by_schema(rows: IndexRows) -> Counter[str]:
    """How many new records of each schema these rows stand for, or of `PUBLISHED` ones."""
    keys, _ = rows.of_index(BY_SCHEMA)
    counts = Counter[str]()
    for schema, count in Counter(map(_SCHEMA_OF, keys)).items():
        name = schema.decode()
        counts[name if name in SCHEMAS else PUBLISHED] += count
    return counts


def corrected_by(reader: Readable, transaction_id: Hash) -> Hash | None:
    """The transaction that corrected a record; None while none did."""
    correction = CORRECTED.get(reader, transaction_id)
    return None if correction is None else correction.by


def read_corrected_ahead(changes: Changes, transaction_ids: Collection[Hash]) -> None:
    """What `corrected_by` is going to ask for, read together."""
    CORRECTED.read_ahead(changes, transaction_ids)


def sequence(reader: Readable, device: bytes) -> Sequence:
    """Which numbers of a device were accepted, and which are missing."""
    return SEQUENCES.get(reader, device) or UNNUMBERED
