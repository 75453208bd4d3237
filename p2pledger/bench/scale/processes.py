"""What more authorities cost as real processes on this machine, and where that ends. Floor 9."""

import os
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import httpx
import trio
from rich.console import Console

from p2pledger.bench.devices import devices, enrolment, records
from p2pledger.chain.transaction import Transaction
from p2pledger.client import AsyncClient
from p2pledger.testnet.agreement import agreement_of
from p2pledger.testnet.directory import Directory, Plan, create_directory
from p2pledger.testnet.nodes import Nodes
from p2pledger.testnet.ports import NoPorts, claimed_ports
from p2pledger.testnet.processes import NodeDied
from p2pledger.types import Millis

DEVICES = 20
TICK_S = 0.1
REQUEST_S = 10.0
NODE_MIB = 150
"""What a node is taken to need until one was measured."""
BEHIND = 1.5
"""Nodes that take so many times as long as the transactions were handed in do not keep up."""


@dataclass(frozen=True)
class Limits:
    """What the nodes may have of this machine."""

    cores: int
    memory_mib: int


def limits_of_this_machine(memory_percent: int) -> Limits:
    """The cores that we may run on, and a part of the memory that is free now."""
    lines = Path("/proc/meminfo").read_text().splitlines()
    free_kib = next(int(line.split()[1]) for line in lines if line.startswith("MemAvailable:"))
    return Limits(len(os.sched_getaffinity(0)), free_kib * memory_percent // 100 // 1_024)


@dataclass(frozen=True)
class Fleet:
    """How so many authorities and one gateway did. Means over the nodes; `share`: of a core.

    `cores` is what all nodes used together, `other_cores` what anything else on the machine did, the bench
    included.
    """

    authorities: int
    seconds: float
    blocks_per_s: float
    transactions_per_s: float
    authority_share: float
    gateway_share: float
    cores: float
    other_cores: float
    node_mib: int
    memory_mib: int
    authority_sent_bytes_per_s: int
    agree: bool


@dataclass(frozen=True)
class Processes:
    """The sizes that were run, and why no more: None when all were."""

    fleets: tuple[Fleet, ...]
    stopped: str | None


def grow(sizes: Sequence[int], rate: float, seconds: float, limits: Limits, progress: Console) -> Processes:
    """Run one size after the other, for so long as the machine lasts."""
    fleets: list[Fleet] = []
    for authorities in sizes:
        node_mib = max((fleet.node_mib for fleet in fleets), default=NODE_MIB)
        needed_mib = (authorities + 1) * node_mib
        if needed_mib > limits.memory_mib:
            why = f"memory: {needed_mib:,} MiB for {authorities} authorities, {limits.memory_mib:,} allowed"
            return Processes(tuple(fleets), why)
        progress.print(f"{authorities} authorities and a gateway as processes ...")
        try:
            fleet = _run(authorities, rate, seconds)
        except (NodeDied, NoPorts, trio.TooSlowError) as error:
            return Processes(tuple(fleets), f"{authorities} authorities: {error or 'too slow'}")
        fleets.append(fleet)
        if fleet.seconds > BEHIND * seconds:
            used = f"{fleet.cores:g} of {limits.cores} cores, others {fleet.other_cores:g}"
            why = f"processor: {seconds:g} s of transactions took {fleet.seconds:g} s; nodes used {used}"
            return Processes(tuple(fleets), why)
    return Processes(tuple(fleets), None)


def _run(authorities: int, rate: float, seconds: float) -> Fleet:
    with (
        tempfile.TemporaryDirectory(prefix="p2pledger-bench-") as home,
        claimed_ports(authorities + 1) as ports,
    ):
        directory = create_directory(Path(home), Plan(authorities, 1, ports.base))
        return trio.run(_measure, directory, rate, seconds)


async def _measure(directory: Directory, rate: float, seconds: float) -> Fleet:
    nodes = Nodes(directory)
    gateway = directory.gateways()[0]
    try:
        async with (
            httpx.AsyncClient(timeout=REQUEST_S, trust_env=False) as http,
            AsyncClient([gateway.http_url], directory.genesis) as client,
        ):
            await nodes.launch()
            await nodes.wait_until_ready(http)
            wishes = await _prepared(directory, client, int(rate * seconds))
            before, busy_s = await _figures(http, directory), _busy_s()
            began_s = trio.current_time()
            await _submit(client, wishes, rate)
            elapsed_s, busy_s = trio.current_time() - began_s, _busy_s() - busy_s
            after = await _figures(http, directory)
            agreement = await agreement_of(http, {node.name: node.http_url for node in directory.nodes})
    finally:
        await nodes.stop()
    return _told(directory.plan.authorities, elapsed_s, before, after, busy_s / elapsed_s, agreement.agree)


async def _prepared(directory: Directory, client: AsyncClient, count: int) -> list[Transaction]:
    """Signed records of devices that are enrolled: nothing of it falls into the measure."""
    gateway, genesis = directory.gateways()[0], directory.genesis
    behind = devices(DEVICES)
    enrolments = [
        enrolment(genesis, device, gateway.organisation, gateway.peer, gateway.signer) for device in behind
    ]
    await client.submit_many(enrolments)
    for each in enrolments:
        await client.wait(each.id)
    now = Millis(time.time_ns() // 1_000_000)
    return list(islice(records(genesis, behind, gateway.organisation, now), count))


async def _submit(client: AsyncClient, wishes: list[Transaction], rate: float) -> None:
    """Hand them in at a steady rate; return when the last of them has its end."""
    began_s, sent = trio.current_time(), 0
    while sent < len(wishes):
        due = min(len(wishes), int((trio.current_time() - began_s) * rate) + 1)
        await client.submit_many(wishes[sent:due])
        sent = due
        await trio.sleep(TICK_S)
    await client.wait(wishes[-1].id)


def _busy_s() -> float:
    """Processor time of everything on this machine since it started."""
    user, nice, system, _, _, *others = map(int, Path("/proc/stat").read_text().split()[1:9])
    return (user + nice + system + sum(others)) / os.sysconf("SC_CLK_TCK")


async def _figures(http: httpx.AsyncClient, directory: Directory) -> list[dict[str, float]]:
    """Each node's series by name and labels."""
    found = []
    for node in directory.nodes:
        lines = (await http.get(node.metrics_url)).text.splitlines()
        pairs = (line.rpartition(" ") for line in lines if not line.startswith("#"))
        found.append({series: float(value) for series, _, value in pairs})
    return found


def _told(
    authorities: int,
    elapsed_s: float,
    before: list[dict[str, float]],
    after: list[dict[str, float]],
    busy_cores: float,
    agree: bool,
) -> Fleet:
    def rates(start: str) -> list[float]:
        """By how much the series that begin so grew a second, for each node."""
        sums = [
            [sum(v for k, v in each.items() if k.startswith(start)) for each in s] for s in (before, after)
        ]
        return [(late - early) / elapsed_s for early, late in zip(*sums, strict=True)]

    cpu = rates("process_cpu_seconds_total")
    sent = rates('p2pledger_p2p_bytes_total{direction="outbound"')
    memory = [figures["process_resident_memory_bytes"] / 2**20 for figures in after]
    final = 'p2pledger_txs_finalized_total{kind="record.append",result="final"}'
    return Fleet(
        authorities=authorities,
        seconds=round(elapsed_s, 1),
        blocks_per_s=round(rates("p2pledger_chain_finalized_height")[0], 1),
        transactions_per_s=round(rates(final)[0], 1),
        authority_share=round(sum(cpu[:authorities]) / authorities, 3),
        gateway_share=round(cpu[-1], 3),
        cores=round(sum(cpu), 2),
        other_cores=round(max(0.0, busy_cores - sum(cpu)), 2),
        node_mib=round(max(memory)),
        memory_mib=round(sum(memory)),
        authority_sent_bytes_per_s=round(sum(sent[:authorities]) / authorities),
        agree=agree,
    )
