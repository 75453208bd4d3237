"""Whole runs keep every promise, are the same every time, and a broken one is made small."""

import os
import subprocess
import sys
from dataclasses import replace

import pytest
from p2pledger.simulator.campaign import COVERED, Totals, campaign, shrink
from p2pledger.simulator.faults import FAULTS_MIN, Fault, Kind
from p2pledger.simulator.judge import Violation
from p2pledger.simulator.run import BLOCKS_AFTER, Case, Report, case_of, run
from p2pledger.simulator.story import tell

SEEDS = range(1_000, 1_012)


@pytest.fixture(scope="module")
def totals() -> Totals:
    last = Totals()
    for last in campaign(SEEDS):
        pass
    return last


def test_every_seed_keeps_every_promise(totals: Totals) -> None:
    assert [(r.case.seed, str(r.violation)) for r in totals.failures] == []
    assert totals.seeds == len(SEEDS)


def test_every_seed_makes_its_blocks_after_its_faults(totals: Totals) -> None:
    assert totals.blocks_min is not None and totals.blocks_min >= BLOCKS_AFTER
    assert totals.counts["faults"] >= FAULTS_MIN * len(SEEDS)


def test_a_few_seeds_meet_most_of_what_is_to_be_met(totals: Totals) -> None:
    assert len(totals.uncovered) < len(COVERED) / 2, totals.uncovered


def test_a_campaign_that_met_nothing_says_so() -> None:
    assert Totals().uncovered == list(COVERED)


def trace_in_another_process(seed: int, hash_seed: str) -> str:
    program = f"from p2pledger.simulator.run import *; print(run(case_of({seed})).trace_hash)"
    environment = {**os.environ, "PYTHONHASHSEED": hash_seed}
    done = subprocess.run([sys.executable, "-c", program], env=environment, capture_output=True, check=True)
    return done.stdout.decode().strip()


def test_a_seed_gives_the_same_run_in_every_process() -> None:
    traces = {trace_in_another_process(1_003, hash_seed) for hash_seed in "12"}
    assert traces == {run(case_of(1_003)).trace_hash}
    assert traces != {run(case_of(1_004)).trace_hash}


def test_a_run_with_real_signatures() -> None:
    report = run(case_of(1_000, is_real=True))
    assert report.violation is None and report.height >= BLOCKS_AFTER


@pytest.mark.parametrize("n", [5, 6, 7, 10])
def test_larger_networks(n: int) -> None:
    assert run(case_of(1_100, n=n)).violation is None


def test_a_violation_is_shrunk_to_what_it_needs() -> None:
    case = case_of(1_005)
    needed = Fault(300, Kind.CRASH, (1,), 100, "AT_ONCE")
    case = replace(case, faults=(*case.faults[:3], needed, *case.faults[3:]), loss=0.05)

    def run_case(case: Case) -> Report:
        broken = Violation("agreement", "planted") if needed in case.faults and case.loss else None
        return Report(case, 1, 1, "", Totals().counts, broken)

    small = shrink(run_case(case), run_case).case
    assert small.faults == (needed,)
    assert small.loss == 0.05 and small.duplication == 0.0 and not small.is_changing


def test_a_story_tells_what_happened_last() -> None:
    report, lines = tell(replace(case_of(1_006), faults=()), lines_max=400)
    assert report.violation is None and len(lines) == 400
    assert any("votes F(" in line for line in lines) and any("is final at height" in line for line in lines)
