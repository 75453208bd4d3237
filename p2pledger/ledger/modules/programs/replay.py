"""A period's points worked out again, from claims, settlements and terms alone. Floor 4, pure."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TypeVar

from p2pledger import merkle
from p2pledger.chain.payloads import EnergyParameters, MobilityParameters
from p2pledger.ledger.modules.programs import energy, mobility
from p2pledger.ledger.modules.programs.rows import Driven, Entry, Supplied, version
from p2pledger.ledger.state import Readable
from p2pledger.types import Hash, PublicKey

T = TypeVar("T")


@dataclass(frozen=True)
class Replay:
    """A period worked out again from what was claimed and settled in it.

    `root` is over the recomputed points, `booked_root` over those that were credited; they are equal unless a
    row was altered, and `differing` names the accounts of rows that were.
    """

    root: Hash
    booked_root: Hash
    accounts: int
    points: int
    differing: tuple[PublicKey, ...]


def replay(reader: Readable, program: str, rewards: Iterable[tuple[PublicKey, Entry]]) -> Replay:
    """Work a period's points out again, from inputs and terms alone. `rewards`: all that minted in it.

    Raises ValueError when a row names terms that are not there, or is of another engine than they are.
    """
    booked: dict[PublicKey, int] = {}
    worked_out: dict[PublicKey, int] = {}
    settlements: dict[Hash, dict[PublicKey, Supplied]] = {}
    for key, entry in rewards:
        what = entry.what
        if isinstance(what, Driven):
            worked_out[key] = _driven_points(reader, program, what)
        else:
            if not isinstance(what, Supplied):
                raise ValueError("a period has entries that mint, and no others")
            _parameters(reader, program, what.version, EnergyParameters)
            settlements.setdefault(entry.transaction_id, {})[key] = what
        booked[key] = what.points
    for rows in settlements.values():
        one = next(iter(rows.values()))
        energies_wh = [(key, what.energy_wh) for key, what in rows.items()]
        worked_out.update(energy.share(energy.surplus_of(one.produced_wh, one.consumed_wh), energies_wh))
    return Replay(
        root=period_root(worked_out),
        booked_root=period_root(booked),
        accounts=len(booked),
        points=sum(worked_out.values()),
        differing=tuple(sorted(key for key, points in booked.items() if points != worked_out[key])),
    )


def period_root(points: Mapping[PublicKey, int]) -> Hash:
    """The root of a period: over account | points (8 bytes), by ascending account."""
    leaves = (key + value.to_bytes(8, "big") for key, value in sorted(points.items()))
    return merkle.root(merkle.leaf_hashes(leaves))


def _driven_points(reader: Readable, program: str, what: Driven) -> int:
    parameters = _parameters(reader, program, what.version, MobilityParameters)
    score = mobility.score_of(what.drive, parameters)
    return mobility.points_of(score, what.drive.distance_m, parameters)


def _parameters(reader: Readable, program: str, number: int, engine: type[T]) -> T:
    found = version(reader, program, number)
    if found is None or not isinstance(found.terms.parameters, engine):
        raise ValueError(f"{program!r} has no version {number} for this engine")
    return found.terms.parameters
