"""What `bench modules` found, for people and for scripts. Floor 9."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from statistics import mean, median
from typing import Any

from rich.console import Group, RenderableType
from rich.table import Table

from p2pledger.bench.modules.rules import module_of

ALL = "all"


@dataclass(frozen=True)
class Cost:
    """Microseconds of the processor's time per transaction.

    `signed_inside` is what verifying the signatures inside payloads takes, once for each node and with the
    transactions' own; it is in no other figure. `rules` and `reads` are as `rules.rule_costs_us` says, the
    median of a block. They are asked first, so that the dry run finds rows decoded. `state_root` is a part
    of `execute`, which comes last.
    """

    check_form: float
    signed_inside: float
    rules: float
    reads: float
    dry_run: float
    build: float
    execute: float
    state_root: float
    commit: float


@dataclass(frozen=True)
class State:
    """What was found over a state of so many keys, beside those of devices and of the blocks themselves.

    `straight_us` is, by kind, what executing a block costs for a transaction where nothing was done with it
    before but its form checked, and signatures verified.
    """

    keys: int
    costs: Mapping[str, Cost]
    straight_us: Mapping[str, float]

    @property
    def rules_us(self) -> dict[str, float]:
        """By module, what its rules cost: the median of its kinds, each of which counts once."""
        found: dict[str, list[float]] = {}
        for kind, cost in self.costs.items():
            found.setdefault(module_of(kind), []).append(cost.rules)
        return {module: median(some) for module, some in found.items()}

    def per_second(self, module: str) -> float:
        """Transactions executed in a second of the processor's time: as many of each kind of the module."""
        some = [us for kind, us in self.straight_us.items() if module in (ALL, module_of(kind))]
        return 1e6 / mean(some)

    def as_json(self) -> dict[str, Any]:
        """What was found, for scripts."""
        return {
            "keys": self.keys,
            "kinds": {kind: _rounded(vars(cost)) for kind, cost in self.costs.items()},
            "rules_us": _rounded(self.rules_us),
            "straight_us": _rounded(self.straight_us),
            "per_second": {module: round(self.per_second(module)) for module in (*self.rules_us, ALL)},
        }


@dataclass(frozen=True)
class Report:
    """The cost of each kind, beside what verifying one signature took in the same run."""

    devices: int
    verify_us: float
    states: Sequence[State]
    """By the keys of the state, the smallest first."""

    @property
    def costs(self) -> Mapping[str, Cost]:
        """Of each kind, over the largest state."""
        return self.states[-1].costs

    def fall_percent(self, module: str) -> float:
        """By how much the rate of executing falls from the smallest state to the largest."""
        return 100 * (1 - self.states[-1].per_second(module) / self.states[0].per_second(module))

    def as_json(self) -> dict[str, Any]:
        """The report for scripts; `kinds` are those over the largest state."""
        last = self.states[-1]
        return {
            "devices": self.devices,
            "verify_us": round(self.verify_us, 1),
            **last.as_json(),
            "states": [state.as_json() for state in self.states],
            "fall_percent": _rounded({name: self.fall_percent(name) for name in (*last.rules_us, ALL)}),
        }

    def as_table(self) -> RenderableType:
        """The report for people."""
        return Group(self._kinds(), self._modules())

    def _kinds(self) -> Table:
        keys = self.states[-1].keys
        table = Table(
            title=f"microseconds per transaction, {self.devices:,} devices enrolled, {keys:,} other keys"
        )
        table.add_column("kind", no_wrap=True)
        for step in fields(Cost):
            table.add_column(step.name.replace("_", " "), justify="right")
        for kind, cost in self.costs.items():
            table.add_row(kind, *(f"{us:.1f}" for us in vars(cost).values()))
        table.caption = (
            f"the state root is a part of execute; verifying a signature takes {self.verify_us:.1f}"
        )
        return table

    def _modules(self) -> Table:
        table = Table(title="by module: the rules' own microseconds (median), and executed a second")
        table.add_column("module", no_wrap=True)
        for state in self.states:
            table.add_column(f"us, {state.keys:,} keys", justify="right")
            table.add_column("per s", justify="right")
        table.add_column("fall %", justify="right")
        for name in (*self.states[-1].rules_us, ALL):
            cells = []
            for state in self.states:
                us = state.rules_us.get(name)
                cells += ["" if us is None else f"{us:.1f}", f"{state.per_second(name):,.0f}"]
            table.add_row(name, *cells, f"{self.fall_percent(name):.1f}")
        return table


def _rounded(figures: Mapping[str, float]) -> dict[str, float]:
    return {name: round(figure, 1) for name, figure in figures.items()}
