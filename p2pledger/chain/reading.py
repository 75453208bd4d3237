"""Readings that stay off the ledger, under the root of their batch. Floor 3.

A batch on the ledger carries one Merkle root. Whoever keeps a reading and its path can prove it later,
alone, without showing the other readings; the salt keeps those from being guessed.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated

from p2pledger import merkle
from p2pledger.chain.payloads import BATCH_READINGS_MAX, RecordBatch, SeqNumber
from p2pledger.codec import Length, Range, encode
from p2pledger.errors import InvalidMessage
from p2pledger.types import Hash, Millis

SALT_BYTES = 16
VALUES_MAX = 16


@dataclass(frozen=True)
class Reading:
    """One measurement of a device: its sequence number, when, the values, and a fresh random salt.

    Values are integers in the units that the device's kind states (Wh, mm/s, g, m).
    """

    seq: SeqNumber
    time_ms: Millis
    values: Annotated[tuple[Annotated[int, Range(-(2**63), 2**63 - 1)], ...], Length(1, VALUES_MAX)]
    salt: Annotated[bytes, Length(SALT_BYTES, SALT_BYTES)]

    def leaf(self) -> Hash:
        """Its leaf hash in the batch's tree."""
        return merkle.leaf_hash(encode(self))


def readings_root(readings: Sequence[Reading]) -> Hash:
    """The root that a batch of these readings carries. They stand by ascending, gapless number.

    Raises ValueError when they do not, or are none or too many for one batch.
    """
    return merkle.root(_leaves(readings))


def prove_reading(readings: Sequence[Reading], seq: int) -> merkle.Path:
    """The path of one reading of a batch, to be kept with it. Raises IndexError for a foreign number."""
    leaves = _leaves(readings)
    return merkle.path(leaves, seq - readings[0].seq)


def check_reading(reading: Reading, path: merkle.Path, batch: RecordBatch) -> None:
    """Refuse a reading that is not the one of its number in a batch. Pure. Raises: InvalidMessage."""
    if path.size != batch.count or batch.from_seq + path.index != reading.seq:
        raise InvalidMessage("the path is of another place or batch")
    if not batch.first_ms <= reading.time_ms <= batch.last_ms:
        raise InvalidMessage("the reading lies outside the times of its batch")
    if path.root(reading.leaf()) != batch.root:
        raise InvalidMessage("the reading is not under the batch's root")


def _leaves(readings: Sequence[Reading]) -> list[Hash]:
    if not 1 <= len(readings) <= BATCH_READINGS_MAX:
        raise ValueError(f"a batch has 1 to {BATCH_READINGS_MAX} readings")
    if any(reading.seq != readings[0].seq + i for i, reading in enumerate(readings)):
        raise ValueError("the readings of a batch stand by ascending number, without a gap")
    return [reading.leaf() for reading in readings]
