"""A rule of the protocol switched off in the real code, and the search for a run that shows it."""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from p2pledger.simulator.judge import Violation
from p2pledger.simulator.run import Case, Report, case_of, run
from pytest import MonkeyPatch

STOPPED = "stopped"
"""The promise broken in a run in which the code's own assertions failed: corruption that was noticed."""

Patch = Callable[[MonkeyPatch], None]


@dataclass(frozen=True)
class Mutant:
    """One thing done wrong. It is nowhere in the package: `patch` puts it over the real code.

    `breaks`: the rule, or the mistake, as PROTOCOL.md names it. `promises`: those of the simulator's judge
    that it is to break, any of them. `seeds`: within how many it is caught, from 0 on; 0: by its
    pinned run alone. `n`: so many authorities in each run, else
    as the seed says. `needs`: kinds of faults and liars; a seed whose plan
    lacks one of them cannot show it, and is counted and not run. `without`: what is put in place of `patch`
    when the same run is to be right; nothing, but for mutants of a second line of defence.
    """

    name: str
    breaks: str
    why: str
    patch: Patch
    promises: frozenset[str]
    seeds: int
    n: int | None = None
    needs: frozenset[str] = frozenset()
    without: Patch = lambda patch: None

    @contextmanager
    def switched_on(self) -> Iterator[None]:
        """Within it every node of this process does this wrong."""
        with MonkeyPatch.context() as patch:
            self.patch(patch)
            yield

    def case_of(self, seed: int) -> Case:
        """The ordinary campaign's case of this seed."""
        return case_of(seed, n=self.n)

    def can_show(self, case: Case) -> bool:
        """Whether the plan has what it takes."""
        planned = {word for fault in case.faults for word in (fault.kind.value, str(fault.how))}
        return self.needs <= planned

    def run(self, case: Case) -> Report:
        """A run with the mutant switched on."""
        with self.switched_on():
            return _run(case)

    def is_right_without(self, case: Case) -> bool:
        """Whether the same run without the mutant breaks no promise."""
        with MonkeyPatch.context() as patch:
            self.without(patch)
            return _run(case).violation is None

    def is_caught(self, report: Report) -> bool:
        """Whether a promise is broken that this mutant is to break."""
        return report.violation is not None and report.violation.promise in self.promises

    def search(self, seeds: Iterable[int]) -> Report | None:
        """The run of the first seed that catches it, and is right without it; None when none does."""
        for case in filter(self.can_show, map(self.case_of, seeds)):
            report = self.run(case)
            if self.is_caught(report) and self.is_right_without(case):
                return report
        return None


def mutant(
    breaks: str,
    *promises: str,
    seeds: int,
    n: int | None = None,
    needs: Iterable[str] = (),
    without: Patch = lambda patch: None,
) -> Callable[[Patch], Mutant]:
    """A mutant from the function that switches it on: its name, and its docstring for why it is wrong."""

    def make(patch: Patch) -> Mutant:
        name = patch.__name__.replace("_", "-")
        why = " ".join((patch.__doc__ or "").split())
        return Mutant(name, breaks, why, patch, frozenset(promises), seeds, n, frozenset(needs), without)

    return make


def _run(case: Case) -> Report:
    try:
        return run(case)
    except (AssertionError, LookupError, ValueError, TypeError) as error:
        return Report(case, 0, 0, "", Counter(), Violation(STOPPED, repr(error)))
