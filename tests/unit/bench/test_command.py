"""The command from end to end, on a real node: its figures add up, and what cannot be measured says why."""

import json
import os

from click.testing import CliRunner
from p2pledger.bench.display import idle_table, latency_table, scrape_table, throughput_table
from p2pledger.bench.idle import Idle, Idleness
from p2pledger.bench.latency import Latency
from p2pledger.bench.phase import Stretch, Use
from p2pledger.bench.readings import Readings
from p2pledger.bench.scrape import Scraping
from p2pledger.bench.throughput import Throughput
from p2pledger.cli import main
from pytest import approx
from rich.console import Console

SMALL = ["--authorities", "1", "--rate", "200", "--seconds", "1", "--ceiling", "0.1"]
ALONE = ["--beside", "0", "--readings", "0"]
FEW = ["--authorities", "2", "--gateways", "1", "--seconds", "1"]


def test_a_small_ledger_is_measured_for_real():
    result = CliRunner().invoke(main, ["bench", "throughput", *SMALL, *ALONE, "--json"])
    assert result.exit_code == 0, result.output
    found = json.loads(result.stdout.splitlines()[-1])
    load, node = found["load"], found["load"]["nodes"]["authority-1"]
    assert (load["submitted"], load["taken"], load["refused"], load["missing"]) == (250, 250, {}, 0)
    assert load["early"] + load["final"] + load["late"] == 250 == load["latency_samples"]
    assert load["warm_up_s"] == 0.25
    assert found["final_per_s"] == load["final_per_s"] == approx(load["final"] / load["window_s"], rel=0.01)
    assert found["ceiling_per_s"] == approx(sum(found["verified_per_s"]) / 2, rel=0.01)
    assert found["ratio"] == approx(found["final_per_s"] / found["ceiling_per_s"], abs=1e-4)  # four digits
    assert node["stages_s"].keys() == {"decode", "verify", "admit", "consensus", "execute", "store", "scrape"}
    assert node["rest_s"] > 0 and load["generator_cpu_s"] > 0
    assert load["cpu_ms_per_transaction"]["all"] == approx(1_000 * node["cpu_s"] / load["final"], rel=0.01)


def test_a_scrape_is_measured_by_the_nodes_own_account():
    result = CliRunner().invoke(main, ["bench", "scrape", *SMALL[:6], "--json"])
    assert result.exit_code == 0, result.output
    found = json.loads(result.stdout.splitlines()[-1])
    assert (found["load"]["submitted"], found["load"]["missing"]) == (200, 0)
    assert found["scrapes"] >= 3 and found["series_bytes"] > 50_000
    assert 0 < found["loop_ms"]["p50"] <= found["loop_ms"]["p99"] <= found["loop_ms_max"]
    assert found["verifications"] == approx(
        1_000 * found["loop_ms"]["p50"] / found["verification_us"], rel=0.05
    )
    assert found["load"]["nodes"]["authority-1"]["stages_s"]["network"] > 0, "the nodes count by task"
    assert "P2PLEDGER_METRICS_BY_TASK" not in os.environ


def test_more_than_can_be_held_is_refused_in_words():
    result = CliRunner().invoke(main, ["bench", "throughput", "--rate", "1e6", "--seconds", "60"])
    assert result.exit_code == 1 and "63,000,000 transactions" in result.stderr


def test_readings_are_counted_when_they_are_final_and_each_of_a_thousand_is_proved():
    result = CliRunner().invoke(main, ["bench", "readings", *FEW, "--json"])
    assert result.exit_code == 0, result.output
    found = json.loads(result.stdout.splitlines()[-1])
    assert found["readings"] == 4_096 * found["batches"] > 0 == found["missing"]
    assert found["readings_per_s"] == approx(found["readings"] / found["window_s"], rel=0.01)
    assert found["refused"] == {} and found["proved"] == 1_000
    assert found["kept_bytes"] > found["readings"] * (16 + 8), "a salt and a time for each, at the least"
    assert found["cpu_us_per_reading"] > found["hashing_us_per_reading"] > 0


def test_readings_are_not_proved_by_the_only_node():
    result = CliRunner().invoke(main, ["bench", "throughput", "--authorities", "1", "--seconds", "1"])
    assert result.exit_code == 1 and "two nodes at least" in result.stderr


def test_a_table_tells_what_was_refused_and_that_nodes_fell_behind():
    stretch = Stretch(
        per_second=100.0,
        seconds=2,
        warm_up_s=0,
        submitted=200,
        taken=150,
        refused={"mempool_full": 50},
        window_s=2.1,
        early=0,
        final=140,
        final_per_s=66.7,
        late=9,
        missing=1,
        drain_ms=None,
        latency_ms={"p50": 1.0, "p95": 2.0, "p99": 3.0},
        latency_samples=150,
        proposal_to_final_ms={"p50": 4.0, "p95": 5.0, "p99": 6.0},
        proposal_to_final_samples=20,
        cpu_ms_per_transaction={"all": 1.5, "verify": 0.9, "rest": 0.6},
        sent_bytes_per_transaction=900.0,
        nodes={"authority-1": Use(1.0, {"verify": 0.4}, 0.6, 2 * 1024**2, 9, "jemalloc")},
        generator_cpu_s=0.1,
        generator_late_ms_max=1.0,
    )
    assert not stretch.is_sustained
    readings = Readings(
        gateways=2,
        window_s=2.0,
        readings=8_192,
        readings_per_s=4_096.0,
        batches=2,
        refused={},
        missing=0,
        latency_ms={"p50": 1.0},
        kept_bytes=1024**2,
        kept_bytes_per_reading=128.0,
        gateways_cpu_s=0.1,
        cpu_us_per_reading=3.0,
        hashing_us_per_reading=0.8,
        nodes_cpu_s=1.0,
        proved=1_000,
    )
    found = Throughput(
        2, 1, 0, 10, 250, (900, 1_100), 1_000.0, 66.7, 0.0667, False, stretch, (), {}, readings
    )
    shown = printed(throughput_table(found))
    assert "4,096/s over 2.0 s" in shown and "1,000 drawn by lot" in shown
    for part in ("0.0667", "fell behind", "50 as mempool_full", "140, 9, 1", "verify 0.9, rest 0.6", "2 MiB"):
        assert part in shown
    figures = {"p50": 2.5, "p95": 3.5, "p99": 4.5}
    shown = printed(scrape_table(Scraping(4, 0, 190, 2_048, figures, 5.5, figures, 50.0, 50.0, stretch)))
    for part in ("190 of 2 KiB", "p99 4.5 ms, the worst 5.5 ms", "50.0 of 50.0 us"):
        assert part in shown
    latency = Latency(4, 0, 40.0, stretch.latency_ms, stretch.proposal_to_final_ms, stretch)
    for part in ("40 ms each way", "p50 1.0 ms, p95 2.0 ms", "p50 4.0 ms, p95 5.0 ms, p99 6.0 ms of 20"):
        assert part in printed(latency_table(latency))


def test_a_table_tells_what_idle_nodes_need():
    shown = printed(idle_table(Idleness(60, 3.5, 2.5, {"gateway-1": Idle(0.0123, 100 * 1024**2, 1)})))
    assert "3.5 s all at once, 2.5 s one" in shown and "1.2 % of a core, 100 MiB" in shown


def printed(table) -> str:
    console = Console(width=120)
    with console.capture() as captured:
        console.print(table)
    return captured.get()
