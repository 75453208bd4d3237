"""Numbers and rules that change at a height: parameters and upgrades. Floor 4, pure."""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Annotated

from p2pledger.chain.genesis import BLOCK_BYTES_RANGE, BLOCK_TRANSACTIONS_RANGE, Parameters
from p2pledger.chain.payloads.governance import Parameter, ParameterSet, UpgradePlan
from p2pledger.codec import U32, U64, Length, Range
from p2pledger.errors import Code, InvalidTransaction
from p2pledger.ledger.rules import Context, Measure
from p2pledger.ledger.state import Changes, Readable, Table
from p2pledger.types import Height

RULES_VERSION = 1
"""The rules that this software knows, and every earlier version of them."""

UPGRADES_MAX = 64
"""Upgrades that a ledger may plan in its life."""

_RANGES: Mapping[Parameter, Range] = MappingProxyType(
    {
        Parameter.BLOCK_TRANSACTIONS_MAX: BLOCK_TRANSACTIONS_RANGE,
        Parameter.BLOCK_BYTES_MAX: BLOCK_BYTES_RANGE,
    }
)


@dataclass(frozen=True)
class Setting:
    """A parameter's value from a height on, and the one until then (None: the genesis file's)."""

    value: U64
    from_height: Height
    before: U64 | None


@dataclass(frozen=True)
class Upgrade:
    """Blocks follow this version of the rules from a height on."""

    version: U32
    from_height: Height


@dataclass(frozen=True)
class Upgrades:
    """All upgrades that were ever decided, by ascending version and height."""

    planned: Annotated[tuple[Upgrade, ...], Length(0, UPGRADES_MAX)]


_SETTINGS = Table("parameter", Setting)
_UPGRADES = Table("upgrades", Upgrades)
_NO_UPGRADES = Upgrades(())


def value_at(reader: Readable, parameter: Parameter, parameters: Parameters, height: Height) -> int:
    """A parameter as the block of this height has to keep it. `parameters` are the genesis file's."""
    row = _SETTINGS.get(reader, parameter.value.encode())
    value = None if row is None else row.value if row.from_height <= height else row.before
    if value is not None:
        return value
    first: int = getattr(parameters, parameter.value)
    return first


def rules_version(reader: Readable, height: Height) -> int:
    """The version of the rules that the block of this height follows."""
    planned = (_UPGRADES.get(reader, b"") or _NO_UPGRADES).planned
    return max((one.version for one in planned if one.from_height <= height), default=1)


def enact_parameter(changes: Changes, context: Context, payload: ParameterSet, from_height: Height) -> None:
    """A parameter changes at a height. A change of it that was still to come is given up."""
    allowed = _RANGES[payload.parameter]
    if not allowed.least <= payload.value <= allowed.most:
        raise InvalidTransaction(
            Code.OUT_OF_RANGE, f"{payload.parameter.value} lies in {allowed.least} to {allowed.most}"
        )
    now = value_at(changes, payload.parameter, context.genesis.parameters, context.round.height)
    _SETTINGS.put(changes, payload.parameter.value.encode(), Setting(payload.value, from_height, now))


def enact_upgrade(changes: Changes, context: Context, payload: UpgradePlan, from_height: Height) -> None:
    """Later rules begin at a height, after all that were decided before."""
    planned = (_UPGRADES.get(changes, b"") or _NO_UPGRADES).planned
    last = planned[-1] if planned else Upgrade(1, Height(0))
    if payload.version <= last.version or from_height <= last.from_height or len(planned) == UPGRADES_MAX:
        raise InvalidTransaction(
            Code.NOT_LATER, f"version {last.version} from height {last.from_height} on is decided already"
        )
    _UPGRADES.put(changes, b"", Upgrades((*planned, Upgrade(payload.version, from_height))))


MEASURES = (Measure(ParameterSet, enact_parameter), Measure(UpgradePlan, enact_upgrade))
