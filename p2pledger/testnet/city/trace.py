"""The ride of `testnet/data`, as the trace that a resident's claim is about. Floor 8."""

import secrets
from dataclasses import dataclass, replace

from p2pledger.chain.payloads import Drive, MobilityParameters
from p2pledger.chain.reading import SALT_BYTES, Reading
from p2pledger.ledger.modules.programs.mobility import INTERVAL_MAX_MS, Sample, drive_of, trace_root
from p2pledger.testnet.sources import data_directory, source_of
from p2pledger.types import Hash, Millis


@dataclass(frozen=True)
class Trace:
    """A resident's own readings: speed in mm/s, distance in m, each second. Nobody else has the salts."""

    readings: tuple[Reading, ...]

    @property
    def root(self) -> Hash:
        """What a claim says of it."""
        return trace_root(self.readings)

    def drive(self, parameters: MobilityParameters) -> Drive:
        """What it comes to under a program's rules."""
        return drive_of(self._trips(), parameters)

    def altered(self) -> "Trace":
        """The same with one second that was slower."""
        middle = len(self.readings) // 2
        reading = self.readings[middle]
        speed, distance = reading.values
        changed = replace(reading, values=(speed // 2, distance))
        return Trace((*self.readings[:middle], changed, *self.readings[middle + 1 :]))

    def _trips(self) -> list[list[Sample]]:
        """Uninterrupted stretches at 1 Hz."""
        trips: list[list[Sample]] = []
        for reading in self.readings:
            sample = Sample(reading.time_ms, *reading.values)
            if trips and sample.time_ms - trips[-1][-1].time_ms <= INTERVAL_MAX_MS:
                trips[-1].append(sample)
            else:
                trips.append([sample])
        return trips


def ride(begin_ms: Millis) -> Trace:
    """The ride as if it had begun at a time. A second that stands twice counts once, the first time."""
    return Trace(
        tuple(
            Reading(row.seq, Millis(begin_ms + row.time_ms), row.values, secrets.token_bytes(SALT_BYTES))
            for row in source_of("ride").rows(data_directory())
            if not row.is_repeat
        )
    )
