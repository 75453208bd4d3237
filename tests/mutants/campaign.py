"""`make mutants`: each mutant is searched for in the ordinary campaign's seeds, and must be caught.

`--pin` also writes the cases found to `pinned.json`, for the fast version in `make test`.
"""

import json
import os
import sys
import time
from argparse import ArgumentParser
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import asdict, dataclass
from enum import Enum
from multiprocessing import get_context
from pathlib import Path
from typing import Any

from p2pledger.simulator.faults import Fault, Kind
from p2pledger.simulator.run import Case
from rich.console import Console
from rich.table import Table
from tests.mutants.epochs import EPOCHS
from tests.mutants.mistakes import MISTAKES
from tests.mutants.mutant import Mutant
from tests.mutants.rules import RULES

MUTANTS: tuple[Mutant, ...] = (*RULES, *EPOCHS, *MISTAKES)
PINNED = Path(__file__).with_name("pinned.json")


@dataclass(frozen=True)
class Catch:
    """The run that showed a mutant, the promise it broke, and how long searching for it took."""

    name: str
    case: Case
    promise: str
    seconds: float
    is_clean: bool
    """Whether the same run without the mutant breaks nothing."""


def load_pinned() -> dict[str, Case]:
    """For each mutant a case that catches it, as data: no draw of the plan can change it."""
    return {name: _case(found) for name, found in json.loads(PINNED.read_text()).items()}


def _case(found: dict[str, Any]) -> Case:
    faults = tuple(
        Fault(**fault | {"kind": Kind(fault["kind"]), "nodes": tuple(fault["nodes"])})
        for fault in found.pop("faults")
    )
    return Case(**found | {"delay_ms": tuple(found["delay_ms"]), "faults": faults})


def _write_pinned(catches: Sequence[Catch]) -> None:
    found = json.loads(PINNED.read_text()) if PINNED.exists() else {}
    found |= {catch.name: asdict(catch.case) for catch in catches}
    kept = {mutant.name: found[mutant.name] for mutant in MUTANTS if mutant.name in found}
    lines = (f"{json.dumps(name)}: {json.dumps(case, default=_value)}" for name, case in kept.items())
    PINNED.write_text("{\n" + ",\n".join(lines) + "\n}\n")


def _value(item: Enum) -> Any:
    return item.value


def _catch(name: str) -> Catch | None:
    mutant = next(mutant for mutant in MUTANTS if mutant.name == name)
    began = time.monotonic()
    report = mutant.search(range(mutant.seeds)) if mutant.seeds else mutant.run(load_pinned()[name])
    seconds = time.monotonic() - began
    if report is None or not mutant.is_caught(report):
        return None
    assert report.violation is not None
    is_clean = mutant.is_right_without(report.case)
    return Catch(name, report.case, report.violation.promise, seconds, is_clean)


def catch_all(mutants: Sequence[Mutant]) -> Iterator[tuple[Mutant, Catch | None]]:
    """Search for each on all cores; the longest searches begin first."""
    ordered = sorted(mutants, key=lambda mutant: -mutant.seeds)
    with ProcessPoolExecutor(os.cpu_count(), get_context("spawn")) as pool:
        searches = {pool.submit(_catch, mutant.name): mutant for mutant in ordered}
        for search in as_completed(searches):
            yield searches[search], search.result()


def main() -> int:
    """Print what caught what. The exit code."""
    parser = ArgumentParser(prog="make mutants", description=__doc__)
    parser.add_argument("--pin", action="store_true", help="write pinned.json anew")
    parser.add_argument("names", nargs="*", help="parts of names; all mutants by default")
    options = parser.parse_args()
    names = options.names or [""]
    mutants = [mutant for mutant in MUTANTS if any(name in mutant.name for name in names)]
    console = Console()
    found: dict[str, Catch] = {}
    for mutant, catch in catch_all(mutants):
        said = (
            f"caught by seed {catch.case.seed}, {catch.seconds:.0f} s" if catch is not None else "NOT CAUGHT"
        )
        console.print(f"{mutant.name}: {said}", highlight=False)
        if catch is not None:
            found[mutant.name] = catch
            if options.pin:
                _write_pinned(list(found.values()))
    console.print(_table(mutants, found))
    unclean = [name for name, catch in found.items() if not catch.is_clean]
    if unclean:
        console.print(f"caught as well without the mutant, so not by it: {', '.join(unclean)}")
    console.print(f"{len(found) - len(unclean)} of {len(mutants)} mutants caught")
    return 0 if len(found) == len(mutants) and not unclean else 1


def _table(mutants: Sequence[Mutant], found: dict[str, Catch]) -> Table:
    table = Table("mutant", "breaks", "caught by", "seeds", "of at most", box=None, pad_edge=False)
    for mutant in mutants:
        catch = found.get(mutant.name)
        caught_by, tried = (catch.promise, str(catch.case.seed + 1)) if catch else ("NOT CAUGHT", "")
        table.add_row(mutant.name, mutant.breaks, caught_by, tried, str(mutant.seeds))
    return table


if __name__ == "__main__":
    sys.exit(main())
