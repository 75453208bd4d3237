"""The rows of custody, and how to read them. Floor 4, pure."""

from dataclasses import dataclass
from enum import Enum
from typing import Annotated

from p2pledger.chain.authority import OrganisationId
from p2pledger.chain.payloads.custody import (
    INPUTS_MAX,
    MANIFEST_LOTS_MAX,
    MASS_G_MAX,
    DiscrepancyReason,
    Fate,
    LotId,
    ManifestId,
    Material,
    Place,
)
from p2pledger.codec import U32, Length, Range
from p2pledger.ledger.state import Readable, Table
from p2pledger.types import Hash, Height, Millis

TOTAL_G_MAX = 2**63 - 1
_Mass = Annotated[int, Range(0, MASS_G_MAX)]
_Total = Annotated[int, Range(0, TOTAL_G_MAX)]

OFFER_LAPSES_MS = 7 * 86_400_000
"""An offer that no carrier has accepted for so long binds its lots no more."""


class LotStatus(Enum):
    """Where a lot is in its life. The last three are ends."""

    HELD = 1
    OFFERED = 2
    """Held, and bound to a manifest until it is accepted or the offer lapses."""
    IN_TRANSIT = 3
    FROZEN = 4
    """Received with a difference beyond the tolerance: nothing happens to it before both sides agree."""
    SPENT = 5
    """It became other lots."""
    CLOSED = 6
    LOST = 7
    """Nothing of it arrived."""


@dataclass(frozen=True)
class Lot:
    """So much of one material in one hand.

    In transit and frozen, it is still in the shipper's books. `place` is where it was collected, received
    or made last. `manifest` is the last one that it stood in. `events` counts what happened to it.
    """

    material: Material
    mass_g: _Mass
    holder: OrganisationId
    status: LotStatus
    place: Place
    parents: Annotated[tuple[LotId, ...], Length(0, INPUTS_MAX)]
    manifest: ManifestId | None
    fate: Fate | None
    events: U32


class ManifestStatus(Enum):
    """The step that a manifest is at. Received and settled are ends."""

    OFFERED = 1
    IN_TRANSIT = 2
    RECEIVED = 3
    DISPUTED = 4
    SETTLED = 5


@dataclass(frozen=True)
class Manifest:
    """Lots on their way from shipper to consignee. `mass_g` is what they weighed when they were offered.

    `received_mass_g`, `received_height` and `place` are of the receipt, `accepted_mass_g` and `reason` of
    the settlement after a discrepancy.
    """

    lots: Annotated[tuple[LotId, ...], Length(1, MANIFEST_LOTS_MAX)]
    shipper: OrganisationId
    carrier: OrganisationId
    consignee: OrganisationId
    mass_g: _Mass
    offered_ms: Millis
    status: ManifestStatus
    received_mass_g: _Mass | None = None
    received_height: Height | None = None
    place: Place | None = None
    accepted_mass_g: _Mass | None = None
    reason: DiscrepancyReason | None = None

    def is_lapsed(self, time_ms: Millis) -> bool:
        """Whether it is an offer that binds nobody any more, at a block's time."""
        return self.status is ManifestStatus.OFFERED and time_ms > self.offered_ms + OFFER_LAPSES_MS


@dataclass(frozen=True)
class Balance:
    """All that ever happened to a material in one organisation's hands, or in all hands together, in grams.

    What came in equals what is there and what went out: `into_g == out_of_g`. Over all organisations what
    was received is what was delivered, so there created + gains = held + in transit + frozen + closed +
    losses, with what transformations made among the created, and what they spent among the closed.
    """

    created_g: _Total = 0
    made_g: _Total = 0
    """Outputs of transformations."""
    gains_g: _Total = 0
    received_g: _Total = 0
    """Handed over by others, at the mass that was received or settled."""
    held_g: _Total = 0
    """Also while on offer."""
    in_transit_g: _Total = 0
    frozen_g: _Total = 0
    closed_g: _Total = 0
    spent_g: _Total = 0
    """Inputs of transformations, less their share in the loss."""
    losses_g: _Total = 0
    delivered_g: _Total = 0
    """Handed over to others, at the mass that was received or settled."""

    @property
    def into_g(self) -> int:
        """What came in: created, made, gained, received."""
        return self.created_g + self.made_g + self.gains_g + self.received_g

    @property
    def out_of_g(self) -> int:
        """What is there or on its way, and what went out: closed, spent, lost, delivered."""
        there = self.held_g + self.in_transit_g + self.frozen_g
        return there + self.closed_g + self.spent_g + self.losses_g + self.delivered_g


@dataclass(frozen=True)
class Closings:
    """What became of a material at a place in a month, in grams by fate."""

    recycled_g: _Total = 0
    composted_g: _Total = 0
    energy_g: _Total = 0
    landfill_g: _Total = 0
    sold_g: _Total = 0


@dataclass(frozen=True)
class WeighingUse:
    """The transaction that rests on a weighing record, by the record's id."""

    by: Hash


LOTS = Table("lot", Lot)
MANIFESTS = Table("manifest", Manifest)
BALANCES = Table("custody-balance", Balance)
CLOSINGS = Table("custody-closing", Closings)
WEIGHINGS = Table("weighing", WeighingUse)

ALL = ""
"""Stands for all organisations together where a balance or a discrepancy is looked for."""


class Event(Enum):
    """What happened to a lot."""

    CREATED = 1
    MADE = 2
    OFFERED = 3
    ACCEPTED = 4
    RECEIVED = 5
    FROZEN = 6
    SETTLED = 7
    SPENT = 8
    CLOSED = 9


@dataclass(frozen=True)
class LotEvent:
    """One link of a lot's chain of custody, as it was after it happened.

    `by` is the organisation whose transaction it was, `holder` whose hands the lot is in.
    """

    event: Event
    transaction_id: Hash
    height: Height
    time_ms: Millis
    by: OrganisationId
    holder: OrganisationId
    mass_g: _Mass
    place: Place
    manifest: ManifestId | None


@dataclass(frozen=True)
class Discrepancy:
    """A difference beyond the tolerance; `accepted_mass_g` is None while it is open."""

    manifest: ManifestId
    shipper: OrganisationId
    carrier: OrganisationId
    consignee: OrganisationId
    sent_mass_g: _Mass
    received_mass_g: _Mass
    accepted_mass_g: _Mass | None
    reason: DiscrepancyReason | None


LOT_EVENTS = "custody.events"
"""lot | the event's number from 0 (4 bytes) -> encoded `LotEvent`: the chain of custody in order."""
CHILDREN = "custody.children"
"""A spent lot | a lot that it became -> transaction id: traces forward. `Lot.parents` traces back."""
MATERIALS = "custody.materials"
"""organisation (none: all) | 0 | material: of which there is a `Balance`."""
DISCREPANCIES = "custody.discrepancies"
"""organisation (shipper and consignee; none: all) | 0 | height of the receipt (8 bytes) | manifest
-> encoded `Discrepancy`, written again when it is settled."""
CLOSED_BY_MATERIAL = "custody.closed_by_material"
"""material | 0 | month | 0 | place: of which there are `Closings`."""
CLOSED_BY_PLACE = "custody.closed_by_place"
"""place | 0 | month | 0 | material: of which there are `Closings`."""


def lot(reader: Readable, lot_id: bytes) -> Lot | None:
    """A lot by its id, whatever became of it."""
    return LOTS.get(reader, lot_id)


def manifest(reader: Readable, manifest_id: bytes) -> Manifest | None:
    """A manifest by its id, whatever became of it."""
    return MANIFESTS.get(reader, manifest_id)


def balance(reader: Readable, material: str, organisation: str = ALL) -> Balance:
    """The balance of a material in an organisation's hands, or in all. One row, whatever its history."""
    return BALANCES.get(reader, balance_key(material, organisation)) or Balance()


def closings(reader: Readable, material: str, month: str, place: str) -> Closings:
    """What became of a material at a place in a month (`masses.month_of`)."""
    return CLOSINGS.get(reader, closings_key(material, month, place)) or Closings()


def balance_key(material: str, organisation: str) -> bytes:
    """Where a balance stands in its table, and in the index MATERIALS."""
    return f"{organisation}\0{material}".encode()


def closings_key(material: str, month: str, place: str) -> bytes:
    """Where closings stand in their table, and in the index CLOSED_BY_MATERIAL."""
    return f"{material}\0{month}\0{place}".encode()
