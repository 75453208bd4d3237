"""`bench modules` knows every kind of transaction, and all of what it measures becomes final."""

import json

from click.testing import CliRunner
from p2pledger.bench.modules.governance import MAJORITY
from p2pledger.bench.modules.measuring import BLOCKS, MEASURES, measure
from p2pledger.bench.solo import solo
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
        assert ledger.store.tip().height == len(blocks) + 3 == 2 * BLOCKS + 3
        assert ledger.store.tip().frontier.size == 3 * len(blocks) + 5 + decided + voted


def test_the_report_is_the_last_line():
    asked = ["bench", "modules", "--count", "1", "--devices", "1", "--rounds", "1", "--json"]
    seen = CliRunner().invoke(main, asked)
    assert seen.exit_code == 0
    assert json.loads(seen.stdout.splitlines()[-1])["kinds"].keys() == RULES.keys()


def test_fewer_devices_than_records_are_refused():
    seen = CliRunner().invoke(main, ["bench", "modules", "--count", "2", "--devices", "1"])
    assert seen.exit_code == 1 and "--devices" in seen.output
