"""The command from end to end, on a real node: its figures add up, and what cannot be measured says why."""

import json

from click.testing import CliRunner
from p2pledger.bench.display import idle_table, latency_table, throughput_table
from p2pledger.bench.idle import Idle, Idleness
from p2pledger.bench.latency import Latency
from p2pledger.bench.phase import Stretch, Use
from p2pledger.bench.throughput import Throughput
from p2pledger.cli import main
from pytest import approx
from rich.console import Console

SMALL = ["--authorities", "1", "--rate", "200", "--seconds", "1", "--beside", "0", "--ceiling", "0.1"]


def test_a_small_ledger_is_measured_for_real():
    result = CliRunner().invoke(main, ["bench", "throughput", *SMALL, "--json"])
    assert result.exit_code == 0, result.output
    found = json.loads(result.stdout.splitlines()[-1])
    load, node = found["load"], found["load"]["nodes"]["authority-1"]
    assert (load["submitted"], load["taken"], load["refused"], load["missing"]) == (200, 200, {}, 0)
    assert load["final"] + load["late"] == 200 == load["latency_samples"]
    assert found["final_per_s"] == load["final_per_s"] == approx(load["final"] / load["window_s"], rel=0.01)
    assert found["ceiling_per_s"] == approx(sum(found["verified_per_s"]) / 2, rel=0.01)
    assert found["ratio"] == approx(found["final_per_s"] / found["ceiling_per_s"], rel=0.01)
    assert node["stages_s"].keys() == {"decode", "verify", "admit", "consensus", "execute", "store"}
    assert node["rest_s"] > 0 and load["generator_cpu_s"] > 0
    assert load["cpu_ms_per_transaction"]["all"] == approx(1_000 * node["cpu_s"] / load["final"], rel=0.01)


def test_more_than_can_be_held_is_refused_in_words():
    result = CliRunner().invoke(main, ["bench", "throughput", "--rate", "1e6", "--seconds", "60"])
    assert result.exit_code == 1 and "60,000,000 transactions" in result.stderr


def test_a_table_tells_what_was_refused_and_that_nodes_fell_behind():
    stretch = Stretch(
        per_second=100.0,
        seconds=2,
        submitted=200,
        taken=150,
        refused={"mempool_full": 50},
        window_s=2.1,
        final=140,
        final_per_s=66.7,
        late=9,
        missing=1,
        drain_ms=None,
        latency_ms={"p50": 1.0, "p95": 2.0, "p99": 3.0},
        latency_samples=150,
        cpu_ms_per_transaction={"all": 1.5, "verify": 0.9, "rest": 0.6},
        sent_bytes_per_transaction=900.0,
        nodes={"authority-1": Use(1.0, {"verify": 0.4}, 0.6, 2 * 1024**2, 9)},
        generator_cpu_s=0.1,
        generator_late_ms_max=1.0,
    )
    assert not stretch.is_sustained
    found = Throughput(2, 1, 0, 10, 250, (900, 1_100), 1_000.0, 66.7, 0.0667, False, stretch, (), {})
    shown = printed(throughput_table(found))
    for part in ("0.0667", "fell behind", "50 as mempool_full", "140, 9, 1", "verify 0.9, rest 0.6", "2 MiB"):
        assert part in shown
    assert "40 ms each way" in printed(latency_table(Latency(4, 0, 40.0, stretch.latency_ms, stretch)))


def test_a_table_tells_what_idle_nodes_need():
    shown = printed(idle_table(Idleness(60, 3.5, 2.5, {"gateway-1": Idle(0.0123, 100 * 1024**2, 1)})))
    assert "3.5 s all at once, 2.5 s one" in shown and "1.2 % of a core, 100 MiB" in shown


def printed(table) -> str:
    console = Console(width=120)
    with console.capture() as captured:
        console.print(table)
    return captured.get()
