"""Readings that stay off the ledger, under the root of their batch. Floor 3.

A batch on the ledger carries one Merkle root. Whoever keeps a reading and its path can prove it later,
alone, without showing the other readings; the salt keeps those from being guessed.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import repeat
from struct import Struct
from typing import Annotated

from p2pledger import merkle
from p2pledger.chain.payloads import BATCH_READINGS_MAX, DeviceId, RecordBatch, SeqNumber
from p2pledger.chain.schema import SchemaId
from p2pledger.codec import Length, Range, decode, encode
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


@dataclass(frozen=True)
class EncodedReadings:
    """The readings of one batch as they are hashed and kept: `encoded[i]` is that of number `from_seq + i`.

    A gateway makes them from columns, without an object for each reading, at a quarter of the time.
    """

    from_seq: int
    encoded: Sequence[bytes]

    @classmethod
    def of(cls, readings: Sequence[Reading]) -> "EncodedReadings":
        """These readings. They stand by ascending, gapless number.

        Raises ValueError when they do not, or are none or too many for one batch.
        """
        _check_count(len(readings))
        if any(reading.seq != readings[0].seq + i for i, reading in enumerate(readings)):
            raise ValueError("the readings of a batch stand by ascending number, without a gap")
        return cls(readings[0].seq, [encode(reading) for reading in readings])

    @classmethod
    def of_columns(
        cls, from_seq: int, times_ms: Sequence[int], values: Sequence[Sequence[int]], salts: bytes
    ) -> "EncodedReadings":
        """Readings numbered from `from_seq` on; the i-th has `times_ms[i]`, `values[0][i]`, `values[1][i]`...

        `salts`: SALT_BYTES for each, one after the other, from the system's random source.
        Each is `encode(Reading(...))`, byte for byte. Raises ValueError when one would not be a reading, the
        columns differ in length, or there are none or too many for one batch.
        """
        count = len(times_ms)
        _check_count(count)
        if len(salts) != SALT_BYTES * count or any(len(column) != count for column in values):
            raise ValueError("the columns differ in length")
        if not 1 <= len(values) <= VALUES_MAX:
            raise ValueError(f"a reading has 1 to {VALUES_MAX} values")
        _check_integers((from_seq, from_seq + count - 1), 0, 2**63 - 1)
        _check_integers(times_ms, 0, 2**64 - 1)
        for column in values:
            _check_integers(column, -(2**63), 2**63 - 1)
        pieces = zip(
            repeat(_FIELDS),
            map(_integer, range(from_seq, from_seq + count)),
            map(_integer, times_ms),
            repeat(bytes((_ARRAY + len(values),))),
            *(map(_integer, column) for column in values),
            repeat(_SALT),
            [salts[at : at + SALT_BYTES] for at in range(0, len(salts), SALT_BYTES)],
            strict=False,
        )
        return cls(from_seq, list(map(b"".join, pieces)))

    @cached_property
    def _tree(self) -> merkle.Tree:
        return merkle.Tree(merkle.leaf_hashes(self.encoded))

    @property
    def root(self) -> Hash:
        """The root that their batch carries."""
        return self._tree.root

    def batch(self, schema: SchemaId, device: DeviceId, first_ms: Millis, last_ms: Millis) -> RecordBatch:
        """What the ledger is told of them: their numbers, these times and the root, of this device."""
        count = len(self.encoded)
        return RecordBatch(
            schema=schema,
            device=device,
            from_seq=self.from_seq,
            to_seq=self.from_seq + count - 1,
            count=count,
            first_ms=first_ms,
            last_ms=last_ms,
            root=self.root,
        )

    def path(self, seq: int) -> merkle.Path:
        """The path of one of them, to be shown with it. Raises IndexError for a foreign number."""
        return self._tree.path(seq - self.from_seq)

    def reading(self, seq: int) -> Reading:
        """One of them. Raises IndexError for a foreign number; InvalidMessage when it is not one."""
        if not self.from_seq <= seq < self.from_seq + len(self.encoded):
            raise IndexError(f"there is no reading {seq}")
        found: Reading = decode(Reading, self.encoded[seq - self.from_seq])
        return found


# The heads of a reading's encoding (RFC 8949, section 3): an array of 4, arrays of values, 16 bytes of salt.
_ARRAY = 0x80
_FIELDS = bytes((_ARRAY + 4,))
_SALT = bytes((0x40 + SALT_BYTES,))
_16_BITS, _32_BITS, _64_BITS = (Struct(f">B{size}").pack for size in "HIQ")


def _integer(value: int) -> bytes:
    """The canonical encoding of one integer, without finding out first that it is one, as `encode` does."""
    kind = 0
    if value < 0:
        kind, value = 0x20, -1 - value
    if value < 24:
        return bytes((kind + value,))
    if value < 2**8:
        return bytes((kind + 24, value))
    if value < 2**16:
        return _16_BITS(kind + 25, value)
    return _32_BITS(kind + 26, value) if value < 2**32 else _64_BITS(kind + 27, value)


def readings_root(readings: Sequence[Reading]) -> Hash:
    """The root that a batch of these readings carries. They stand by ascending, gapless number.

    Raises ValueError when they do not, or are none or too many for one batch.
    """
    return EncodedReadings.of(readings).root


def prove_reading(readings: Sequence[Reading], seq: int) -> merkle.Path:
    """The path of one reading of a batch, to be kept with it. Raises IndexError for a foreign number."""
    return EncodedReadings.of(readings).path(seq)


def check_reading(reading: Reading, path: merkle.Path, batch: RecordBatch) -> None:
    """Refuse a reading that is not the one of its number in a batch. Pure. Raises: InvalidMessage."""
    if path.size != batch.count or batch.from_seq + path.index != reading.seq:
        raise InvalidMessage("the path is of another place or batch")
    if not batch.first_ms <= reading.time_ms <= batch.last_ms:
        raise InvalidMessage("the reading lies outside the times of its batch")
    if path.root(reading.leaf()) != batch.root:
        raise InvalidMessage("the reading is not under the batch's root")


def _check_count(count: int) -> None:
    if not 1 <= count <= BATCH_READINGS_MAX:
        raise ValueError(f"a batch has 1 to {BATCH_READINGS_MAX} readings")


def _check_integers(column: Sequence[int], least: int, most: int) -> None:
    if set(map(type, column)) != {int} or min(column) < least or max(column) > most:
        raise ValueError(f"not integers from {least} to {most}")
