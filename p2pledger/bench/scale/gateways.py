"""What gossip costs as gateways grow in number, in the simulated mesh. Floor 9.

Who is connected to whom is an assumption: every authority to every other, and each gateway dials a few
authorities and a few gateways at random, as an operator's `peers` would name them. A node takes no more
connections than `transport.MAX_CONNECTIONS`; whoever it refuses does without, and goes on dialling.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from random import Random
from statistics import fmean

from p2pledger.bench.scale.assumptions import Assumptions
from p2pledger.bench.scale.mesh import Costs, Load, Mesh, Message, rules_of_our_router
from p2pledger.network.host import BACKOFF_S_MAX
from p2pledger.network.transport import MAX_CONNECTIONS
from p2pledger.testnet.tally import percentile

SETTLING_BEATS = 20
"""Until everybody who was pruned has found other company."""


@dataclass(frozen=True)
class Burden:
    """What a node has to do, sent and received together, a second. `share`: of a core."""

    rpcs: float
    size_bytes: int
    share: float


@dataclass(frozen=True)
class Spread:
    """How one size did. Rates are per second; copies: of a message at one node."""

    gateways: int
    connections_mean: float
    connections_most: int
    refused_dials: int
    redials: float
    """Dials that each authority has to refuse, for as long as this lasts; their cost is not in the load."""
    mesh_least: int
    mesh_mean: float
    mesh_most: int
    published: int
    missed: int
    """Pairs of a message and a node that it never reached."""
    p50_ms: float | None
    p99_ms: float | None
    max_ms: float | None
    copies: float
    mean: Burden
    busiest: Burden
    breaks_at_rate: float
    """Messages a second, all publishers together, at which the busiest node fills a core."""


def links_of(gateways: int, how: Assumptions) -> tuple[list[tuple[int, int]], int]:
    """The connections, authorities first in number, and how many dials found no place."""
    random = Random(how.seed)
    authorities = range(how.mesh_authorities)
    everyone = how.mesh_authorities + gateways
    links = {(one, other) for one in authorities for other in authorities if one < other}
    places = [MAX_CONNECTIONS] * everyone
    for node in authorities:
        places[node] -= how.mesh_authorities - 1
    refused = 0
    for gateway in random.sample(range(how.mesh_authorities, everyone), gateways):
        some = _some(random, how.mesh_authorities, everyone, how.dial_gateways + 1)
        others = [node for node in some if node != gateway][: how.dial_gateways]
        for dialled in (*_some(random, 0, how.mesh_authorities, how.dial_authorities), *others):
            link = (min(gateway, dialled), max(gateway, dialled))
            if link in links:
                continue
            if places[gateway] and places[dialled]:
                links.add(link)
                places[gateway] -= 1
                places[dialled] -= 1
            else:
                refused += 1
    return sorted(links), refused


def _some(random: Random, first: int, end: int, most: int) -> list[int]:
    return random.sample(range(first, end), min(most, end - first))


def spread(gateways: int, how: Assumptions) -> Spread:
    """Let a mesh settle, publish for a while, and say what came of it."""
    links, refused = links_of(gateways, how)
    rules = rules_of_our_router()
    mesh = Mesh(
        how.mesh_authorities + gateways,
        links,
        rules,
        Costs(how.first_us, how.copy_us / 2, how.copy_us / 2),
        seed=how.seed,
        delay_ms=how.delay_ms,
        delay_spread=how.delay_spread,
        message_bytes=how.message_bytes,
    )
    warm_ms = SETTLING_BEATS * rules.heartbeat_ms
    begin_ms = warm_ms + rules.announced_beats * rules.heartbeat_ms  # announcements are in full swing by then
    end_ms = begin_ms + how.seconds * 1_000
    random = Random(how.seed)
    at_ms = warm_ms
    while (at_ms := at_ms + random.expovariate(how.rate) * 1_000) < end_ms:
        mesh.schedule(at_ms, mesh.publish, random.randrange(how.mesh_authorities + gateways))
    mesh.run(begin_ms)
    mesh.reset_loads()
    first = len(mesh.messages)
    mesh.run(end_ms)
    loads = [replace(node.load) for node in mesh.nodes]
    mesh.run(end_ms + rules.kept_beats * rules.heartbeat_ms)
    return _told(gateways, how, mesh, mesh.messages[first:], loads, refused)


def _told(
    gateways: int, how: Assumptions, mesh: Mesh, messages: list[Message], loads: list[Load], refused: int
) -> Spread:
    late_ms = sorted(at - message.published_ms for message in messages for at in message.taken_ms.values())
    connections = [len(node.delay_ms) for node in mesh.nodes]
    meshes = [len(node.mesh) for node in mesh.nodes]
    window_ms = how.seconds * 1_000
    return Spread(
        gateways=gateways,
        connections_mean=round(fmean(connections), 1),
        connections_most=max(connections),
        refused_dials=refused,
        redials=round(refused / how.mesh_authorities / (BACKOFF_S_MAX * 0.75), 1),
        mesh_least=min(meshes),
        mesh_mean=round(fmean(meshes), 1),
        mesh_most=max(meshes),
        published=len(messages),
        missed=len(messages) * (len(mesh.nodes) - 1) - len(late_ms),
        p50_ms=percentile(late_ms, 50),
        p99_ms=percentile(late_ms, 99),
        max_ms=percentile(late_ms, 100),
        copies=round(fmean(load.copies for load in loads) / max(1, len(messages)), 2),
        mean=_burden(loads, how.seconds),
        busiest=_burden([max(loads, key=lambda load: load.busy_ms)], how.seconds),
        breaks_at_rate=round(how.rate * min(_room(load, window_ms) for load in loads)),
    )


def _burden(loads: Sequence[Load], seconds: float) -> Burden:
    each = len(loads) * seconds
    return Burden(
        rpcs=round(sum(load.received + load.sent for load in loads) / each, 1),
        size_bytes=round(sum(load.received_bytes + load.sent_bytes for load in loads) / each),
        share=round(sum(load.busy_ms for load in loads) / 1_000 / each, 4),
    )


def _room(load: Load, window_ms: float) -> float:
    """How many times the messages would fill a core, beside the control that does not grow with them."""
    return (window_ms - load.control_ms) / max(load.busy_ms - load.control_ms, 0.001)
