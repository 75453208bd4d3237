"""What a node's process has used: as the kernel counts it, and as the node itself does. Floor 9."""

import os
from dataclasses import dataclass
from pathlib import Path

import httpx
from prometheus_client.parser import text_string_to_metric_families

STAGE_SECONDS = "p2pledger_stage_cpu_seconds_total"
P2P_BYTES = "p2pledger_p2p_bytes_total"
BUILD_INFO = "p2pledger_build_info"

_TICKS_PER_S = os.sysconf("SC_CLK_TCK")
_KIB = 1_024


@dataclass(frozen=True)
class Memory:
    """Resident memory of a process, now and at most so far."""

    now_bytes: int
    peak_bytes: int


@dataclass(frozen=True)
class Reading:
    """A node's counters at one moment, and its allocator. `stages_s`: its own account of processor time."""

    cpu_s: float
    sent_bytes: float
    stages_s: dict[str, float]
    allocator: str


def cpu_s(pid: int, proc: Path = Path("/proc")) -> float:
    """Processor time of a process so far, of all its threads, in user and kernel mode."""
    # The name, in brackets, may hold blanks: count fields from behind it, where the third one stands.
    fields = (proc / str(pid) / "stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / _TICKS_PER_S


def memory(pid: int, proc: Path = Path("/proc")) -> Memory:
    """The resident memory of a process."""
    lines = (proc / str(pid) / "status").read_text().splitlines()
    values = dict(line.split(":", 1) for line in lines)
    now_bytes, peak_bytes = (int(values[name].split()[0]) * _KIB for name in ("VmRSS", "VmHWM"))
    return Memory(now_bytes, peak_bytes)


async def read(http: httpx.AsyncClient, pid: int, metrics_url: str) -> Reading:
    """A node's counters now."""
    return reading((await http.get(metrics_url)).text, cpu_s(pid))


def reading(exposed: str, cpu_s: float) -> Reading:
    """What a node's metrics, as they are exposed, say."""
    sent_bytes, stages_s, allocator = 0.0, {}, ""
    for family in text_string_to_metric_families(exposed):
        for sample in family.samples:
            if sample.name == STAGE_SECONDS:
                stages_s[sample.labels["stage"]] = sample.value
            elif sample.name == P2P_BYTES and sample.labels["direction"] == "outbound":
                sent_bytes += sample.value
            elif sample.name == BUILD_INFO:
                allocator = sample.labels["allocator"]
    return Reading(cpu_s, sent_bytes, stages_s, allocator)
