"""`bench modules` knows every kind of transaction, and all of what it measures becomes final."""

import json

import pytest
from click.testing import CliRunner
from p2pledger.bench.modules.governance import MAJORITY
from p2pledger.bench.modules.measuring import BLOCKS, MEASURES, measure
from p2pledger.bench.modules.report import Report, State
from p2pledger.bench.modules.rules import module_of
from p2pledger.bench.solo import FILLED_AT_ONCE, FILLED_VALUE, solo
from p2pledger.cli import main
from p2pledger.ledger.modules import RULES


def test_each_kind_is_measured_and_stored(tmp_path):
    blocks: list[int] = []
    seen = measure(3, 5, 2, tmp_path, blocks.append)
    assert seen.costs.keys() == RULES.keys()
    assert all(us > 0 for cost in seen.costs.values() for us in vars(cost).values())
    assert seen.verify_us > 0
    with solo(tmp_path) as ledger:
        decided, voted = len(MEASURES), MAJORITY * len(MEASURES)
        assert ledger.store.tip().height == len(blocks) + 3 == 4 * BLOCKS + 3
        assert ledger.store.tip().frontier.size == 3 * len(blocks) + 5 + decided + voted


def test_the_report_is_the_last_line():
    asked = ["bench", "modules", "--count", "1", "--devices", "1", "--rounds", "1", "--json"]
    seen = CliRunner().invoke(main, asked)
    assert seen.exit_code == 0
    assert json.loads(seen.stdout.splitlines()[-1])["kinds"].keys() == RULES.keys()


def test_fewer_devices_than_records_are_refused():
    seen = CliRunner().invoke(main, ["bench", "modules", "--count", "2", "--devices", "1"])
    assert seen.exit_code == 1 and "--devices" in seen.output


def test_states_of_several_sizes_are_compared():
    asked = ["bench", "modules", "--count", "1", "--devices", "1", "--rounds", "1", "--json"]
    seen = CliRunner().invoke(main, [*asked, "--state-keys", "50,0"])
    assert seen.exit_code == 0
    report = json.loads(seen.stdout.splitlines()[-1])
    assert [state["keys"] for state in report["states"]] == [0, 50]
    modules = {module_of(kind) for kind in RULES}
    assert modules == {"registry", "records", "custody", "programs", "consent", "governance"}
    assert report["rules_us"].keys() == modules
    assert report["fall_percent"].keys() == modules | {"all"}


@pytest.mark.parametrize("sizes", ["", "1,", "-1", "5,5", "100000001", "²"])
def test_sizes_that_are_none_are_refused(sizes):
    seen = CliRunner().invoke(main, ["bench", "modules", "--state-keys", sizes])
    assert seen.exit_code == 2 and "with commas between" in seen.output


def test_a_state_is_filled_and_goes_on(tmp_path):
    with solo(tmp_path) as ledger:
        before = ledger.store.crown.root
        ledger.fill(FILLED_AT_ONCE + 1)
        assert ledger.store.tip().height == 2 and ledger.store.crown.root != before
        ledger.reopen()
        assert ledger.store.get(b"filled/%d" % FILLED_AT_ONCE) == FILLED_VALUE
        ledger.enrol(1)


def test_a_fall_is_from_the_smallest_state_to_the_largest():
    def state(keys: int, us: float) -> State:
        return State(keys, {}, {"key.add": us, "lot.close": 40.0})

    seen = Report(1, 50.0, [state(10, 20.0), state(100, 30.0), state(1_000, 40.0)])
    assert seen.states[0].per_second("registry") == 50_000
    assert seen.fall_percent("registry") == 50
    assert seen.fall_percent("custody") == 0
    assert round(seen.fall_percent("all"), 6) == 25
