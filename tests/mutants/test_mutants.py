"""Every rule has a test that fails without it: fast, by one pinned run each; `make mutants` searches."""

import pytest
from tests.mutants.campaign import MUTANTS, load_pinned
from tests.mutants.mutant import Mutant

PINNED = load_pinned()


@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: mutant.name)
def test_caught(mutant: Mutant) -> None:
    """By its pinned run; by any of its seeds once a change of the code leads that run elsewhere."""
    report = mutant.run(PINNED[mutant.name])
    if not mutant.is_caught(report):
        found = mutant.search(range(mutant.seeds))
        assert found is not None, f"no seed shows {mutant.name}: {mutant.why}"
        report = found
    assert mutant.is_right_without(report.case)


def test_pinned_runs_are_of_mutants_that_there_are() -> None:
    assert set(PINNED) == {mutant.name for mutant in MUTANTS}
