"""Payloads of custody: lots of a material, and how they change hands. Floor 3.

A lot is so much of one material in one hand. Masses are whole grams, times milliseconds UTC.
"""

from dataclasses import dataclass
from enum import Enum
from typing import Annotated

from p2pledger.chain.authority import OrganisationId
from p2pledger.chain.payloads.words import Word
from p2pledger.codec import Length, Pattern, Range
from p2pledger.types import Hash, Millis

MASS_G_MAX = 10**10
"""10,000 tonnes: more than a train or a barge brings in one load."""

MANIFEST_LOTS_MAX = 32
INPUTS_MAX = 16
OUTPUTS_MAX = 16

LotId = Annotated[bytes, Length(16, 16)]
"""Random, drawn by who makes the lot: it says nothing of what is in it or where it comes from."""

ManifestId = Annotated[bytes, Length(16, 16)]
"""Random, drawn by the shipper."""

Material = Annotated[str, Length(6, 14), Pattern("(0[1-9]|1[0-9]|20)[0-9]{4}|[0-9]{14}")]
"""Waste by its six digits in the EU List of Waste (Decision 2000/532/EC), without blanks and without the
asterisk that marks hazardous entries; goods by GTIN, padded to 14 digits (GS1 General Specifications,
section 3). So a material has one name."""

Place = Annotated[str, Length(7, 64), Pattern("(container|route|facility):[!-~]+")]
"""A container, a route or a facility, and its number in its owner's register. There is no word for a
dwelling: the smallest source of waste is what many share."""

Mass = Annotated[int, Range(1, MASS_G_MAX)]
"""Of a lot, in grams."""


def _check_material(material: str) -> None:
    if len(material) == 14:
        digits = [int(digit) for digit in material]
        if (sum(digits[1::2]) + 3 * sum(digits[0::2])) % 10:
            raise ValueError("the last digit of a GTIN is its check digit")


@dataclass(frozen=True)
class LotCreate:
    """A material comes into custody: it was collected, and weighed. The sponsor is its first holder.

    Signed by a key of the sponsor and by its scale, the device that the weighing record is by.
    """

    KIND = "lot.create"

    lot: LotId
    material: Material
    mass_g: Mass
    place: Place
    time_ms: Millis
    weighing: Hash
    """The scale's record, by the id of its transaction. A record stands for one weighing."""

    def __post_init__(self) -> None:
        _check_material(self.material)


@dataclass(frozen=True)
class ShipOffer:
    """The holder of lots offers them to a carrier, who is to bring them to a consignee."""

    KIND = "ship.offer"

    manifest: ManifestId
    lots: Annotated[tuple[LotId, ...], Length(1, MANIFEST_LOTS_MAX)]
    carrier: OrganisationId
    consignee: OrganisationId

    def __post_init__(self) -> None:
        if len(set(self.lots)) != len(self.lots):
            raise ValueError("a manifest names a lot once")


@dataclass(frozen=True)
class ShipAccept:
    """The carrier has loaded all lots of a manifest: they are in transit."""

    KIND = "ship.accept"

    manifest: ManifestId


@dataclass(frozen=True)
class ShipReceive:
    """The consignee has weighed what came, as a whole.

    Within the tolerance it is the lots' holder from now on; beyond it the lots are frozen.
    """

    KIND = "ship.receive"

    manifest: ManifestId
    mass_g: Annotated[int, Range(0, MASS_G_MAX)]
    place: Place
    weighing: Hash
    """The record of the consignee's scale, by the id of its transaction."""


@dataclass(frozen=True)
class NewLot:
    """What a transformation makes."""

    lot: LotId
    material: Material
    mass_g: Mass

    def __post_init__(self) -> None:
        _check_material(self.material)


@dataclass(frozen=True)
class LotTransform:
    """Lots become other lots: sorted, shredded, split, merged. Inputs weigh what outputs and loss weigh."""

    KIND = "lot.transform"

    inputs: Annotated[tuple[LotId, ...], Length(1, INPUTS_MAX)]
    outputs: Annotated[tuple[NewLot, ...], Length(1, OUTPUTS_MAX)]
    loss_g: Annotated[int, Range(0, INPUTS_MAX * MASS_G_MAX)]
    process: Word
    place: Place

    def __post_init__(self) -> None:
        lots = (*self.inputs, *(output.lot for output in self.outputs))
        if len(set(lots)) != len(lots):
            raise ValueError("inputs and outputs are different lots, each named once")


class Fate(Enum):
    """How a lot leaves custody (after Directive 2008/98/EC, annexes I and II)."""

    RECYCLED = 1
    COMPOSTED = 2
    ENERGY = 3
    LANDFILL = 4
    SOLD = 5


@dataclass(frozen=True)
class LotClose:
    """The holder of a lot says what became of it for good."""

    KIND = "lot.close"

    lot: LotId
    fate: Fate


class DiscrepancyReason(Enum):
    """Why less or more came than was sent."""

    UNEXPLAINED = 0
    MOISTURE = 1
    SPILLAGE = 2
    SCALE_FAULT = 3
    WRONG_LOAD = 4
    THEFT = 5


@dataclass(frozen=True)
class DiscrepancyResolve:
    """Shipper and consignee agree on what a disputed manifest brought. Signed by a key of each.

    The mass lies between what was sent and what was received: more than either scale showed never came.
    """

    KIND = "discrepancy.resolve"

    manifest: ManifestId
    reason: DiscrepancyReason
    accepted_mass_g: Annotated[int, Range(0, MASS_G_MAX)]
