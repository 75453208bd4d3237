"""What a process used is read from the kernel and from the node's own series."""

import os
import time

from p2pledger.bench.usage import Memory, cpu_s, memory, reading
from p2pledger.metrics import Metrics
from prometheus_client import generate_latest


def test_processor_time_is_that_of_all_threads_and_modes(tmp_path):
    (tmp_path / "7").mkdir()
    fields = ["S", *["0"] * 10, "250", "50", *["0"] * 30]
    (tmp_path / "7" / "stat").write_text(f"7 (a) name (x) {' '.join(fields)}\n")
    assert cpu_s(7, tmp_path) == 300 / os.sysconf("SC_CLK_TCK")


def test_memory_is_told_now_and_at_most(tmp_path):
    (tmp_path / "7").mkdir()
    (tmp_path / "7" / "status").write_text("Name:\tx: y\nVmHWM:\t    2048 kB\nVmRSS:\t    1024 kB\n")
    assert memory(7, tmp_path) == Memory(now_bytes=1024**2, peak_bytes=2 * 1024**2)


def test_our_own_process_can_be_read():
    now = memory(os.getpid())
    assert 0 < now.now_bytes <= now.peak_bytes
    assert 0 < cpu_s(os.getpid()) <= time.process_time() + 1


def test_a_nodes_series_say_what_was_sent_and_where_time_went():
    metrics = Metrics(version="0.1.0", chain_id="test", node="a")
    metrics.stage_cpu_seconds_total.at("verify").inc(1.5)
    metrics.p2p_bytes_total.at("outbound", "gossip").inc(1_000)
    metrics.p2p_bytes_total.at("outbound", "frames").inc(10)
    metrics.p2p_bytes_total.at("inbound", "frames").inc(5)
    found = reading(generate_latest(metrics.registry).decode(), 3.0)
    assert (found.cpu_s, found.sent_bytes, found.stages_s["verify"]) == (3.0, 1_010.0, 1.5)
