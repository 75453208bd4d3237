"""The links of a testnet whose nodes have a host each, as a process of its own: `testnet links`. Floor 8."""

import signal
from itertools import permutations
from pathlib import Path

import trio

from p2pledger.testnet import control
from p2pledger.testnet.directory import Plan
from p2pledger.testnet.hosts import EVERYWHERE, P2P_PORT, link_port
from p2pledger.testnet.link_faults import LinkFaults
from p2pledger.testnet.proxy import open_links


def run(plan: Plan, control_directory: Path) -> int:
    """Carry what nodes send each other until SIGTERM or Ctrl-C; `testnet fault --dir` breaks it.

    Raises: OSError (a port is taken), control.NoTestnet (the path is too long).
    """
    trio.run(_run, plan, control_directory)
    return 0


async def _run(plan: Plan, control_directory: Path) -> None:
    assert plan.hosts is not None, "the links are between hosts"
    names = [node.name for node in plan.nodes(control_directory)]
    with trio.open_signal_receiver(signal.SIGINT, signal.SIGTERM) as signals:
        async with open_links() as links, trio.open_nursery() as nursery:
            for dialler, dialled in permutations(range(len(names)), 2):
                await links.open(
                    names[dialler],
                    names[dialled],
                    plan.hosts.p2p_host(names[dialled]),
                    P2P_PORT,
                    at=(EVERYWHERE, link_port(dialler, dialled)),
                )
            await nursery.start(control.serve, control_directory, LinkFaults(links, names, nursery))
            async for _ in signals:
                nursery.cancel_scope.cancel()
                break
