"""What `bench store` measures is a real chain; what it says of it follows from what it measured."""

import json

import pytest
from click.testing import CliRunner
from p2pledger.bench.solo import START_MS, solo
from p2pledger.bench.store import PARTS, Part, Report, measure
from p2pledger.cli import main
from p2pledger.storage import ids


def report(rates: list[float]) -> Report:
    parts = tuple(Part(int(1_000 * rate), 1.0, 0.5, 2.0, 0.1 * rate) for rate in rates)
    return Report(10_000, 1_000, 10, parts, 500.0, 0.1, 2**20)


def test_a_fall_is_counted_from_after_the_warm_up():
    seen = report([9, 2, 2, 2, 2, 2, 2, 2, 2, 1.5])
    assert seen.fall(lambda part: part.per_second) == 25
    assert seen.fall(lambda part: part.per_cpu_second) == 25


def test_a_slower_machine_is_taken_out():
    parts = tuple(Part(1_000, 1.0, 1.0, 1.0, 0.1) for _ in range(PARTS - 1))
    slower = Part(1_000, 2.0, 2.0, 2.0, 0.2)
    seen = Report(10_000, 1_000, 10, (*parts, slower), 500.0, 0.1, 2**20)
    assert seen.fall(lambda part: part.per_second) == 50
    assert seen.fall(lambda part: part.per_yardstick) == 0
    assert seen.as_json()["machine"][-1] == 0.5


def test_the_chain_is_whole_and_as_long_as_asked(tmp_path):
    told: list[int] = []
    seen = measure(95, 3, 4, tmp_path, told.append)
    assert seen.transactions == sum(told) == 120
    with solo(tmp_path) as ledger:
        tip = ledger.store.tip()
        assert (tip.height, tip.frontier.size) == (41, 124)
        block = ledger.store.block(tip.height)
        assert block is not None and block.header.time_ms > START_MS
        receipt = ledger.store.receipt(block.transaction_ids[2])
        assert receipt is not None and receipt.result.position == 2
    assert seen.disk_bytes_per_transaction > 250


def test_executing_never_asks_the_disk_for_an_id(tmp_path, monkeypatch):
    """Runs of sixteen, so that there are more of them than memory holds."""
    monkeypatch.setattr(ids, "RUN_BITS", 4)
    monkeypatch.setattr(ids, "CHUNK_BITS", 8)
    looks: list[bool] = []

    def doubtful(self, some, recent, first):
        looks.append(recent[0].number > first >> ids.RUN_BITS)
        return look(self, some, recent, first)

    look = ids.Ids.doubtful
    monkeypatch.setattr(ids.Ids, "doubtful", doubtful)
    assert measure(600, 3, 40, tmp_path, lambda _: None).transactions == 600
    assert len(looks) >= 200 and not any(looks)


def test_the_report_is_the_last_line(tmp_path):
    asked = ["bench", "store", "--transactions", "10", "--block", "1", "--dir", str(tmp_path / "new")]
    seen = CliRunner().invoke(main, [*asked, "--json"])
    assert seen.exit_code == 0
    found = json.loads(seen.stdout.splitlines()[-1])
    assert found["transactions"] == 10 and len(found["per_second"]) == PARTS


def test_a_directory_that_is_not_empty_is_refused(tmp_path):
    (tmp_path / "mine").touch()
    seen = CliRunner().invoke(main, ["bench", "store", "--dir", str(tmp_path)])
    assert seen.exit_code == 1 and "not empty" in seen.output


@pytest.mark.parametrize("option", ["--transactions=9", "--block=4001", "--devices=0"])
def test_a_number_beyond_its_limit_is_refused(option):
    assert CliRunner().invoke(main, ["bench", "store", option]).exit_code == 2
