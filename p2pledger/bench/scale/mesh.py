"""The gossip mesh that our nodes form, simulated in one process from one seed. Floor 9.

The rules are those of libp2p 0.8.1's GossipSub as `network.router.Router` runs it, the numbers are read off
such a router:

    upon a connection     graft the peer at once while the mesh is thinner than degree_low
    upon a heartbeat      too thin a mesh is grafted up to `degree`, one over degree_high pruned down to it;
                          what is new of late is announced (IHAVE) to a share of all others
    upon GRAFT            take the peer in; PRUNE it instead while it has us wait, or pruned us just now
    upon PRUNE            let the peer go, and graft it no more for a while
    upon IHAVE            ask (IWANT) whoever announces it for what was never seen
    upon IWANT            send what is still kept
    upon a first copy     forward it to the mesh, but for where it came from and who made it; as long as
                          the mesh is thin, to everybody. Any further copy is only counted

A node takes one RPC after the other and each costs it time, so a busy one is late. One topic: every topic
has a mesh of its own, and their costs add up. Left out, since it does not happen here: scores (all are
honest), losses, full outboxes, late joiners; and that a busy node joins several RPCs into one write.
"""

import heapq
import math
from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from random import Random

from p2pledger.metrics import Metrics
from p2pledger.network.router import IDS_MAX, Router
from p2pledger.network.standing import BAN_S, Standing
from p2pledger.node.gauges import NetworkMeter

ENVELOPE_BYTES = 206
"""What sender, key, number, topic and signature add to a message, measured on the wire."""
ID_BYTES = 34
CONTROL_BYTES = 60
"""A GRAFT, a PRUNE, or the frame of an IHAVE: nearly all of it is the topic's name."""


@dataclass(frozen=True)
class Rules:
    """The numbers that a router goes by."""

    degree: int
    degree_low: int
    degree_high: int
    heartbeat_ms: float
    announced_beats: int
    kept_beats: int
    back_off_ms: float
    flood_ms: float
    """A GRAFT from a peer that pruned us more recently than this is a flood."""
    announced_to: Callable[[int], int]
    """To how many of so many peers outside the mesh a heartbeat announces."""


def rules_of_our_router() -> Rules:
    """The rules of the very router that a node runs."""
    meter = NetworkMeter(Metrics(version="", chain_id="", node=""))
    router = Router(Standing((), lambda peer, offence: None, BAN_S), meter)
    return Rules(
        degree=router.degree,
        degree_low=router.degree_low,
        degree_high=router.degree_high,
        heartbeat_ms=router.heartbeat_interval * 1_000,
        announced_beats=router.mcache.window_size,
        kept_beats=router.mcache.history_size,
        back_off_ms=router.prune_back_off * 1_000,
        flood_ms=min(router.graft_flood_threshold, router.prune_back_off) * 1_000,
        announced_to=lambda others: router._get_adaptive_gossip_peers_count("", others),
    )


@dataclass(frozen=True)
class Costs:
    """Processor time of a node, in microseconds."""

    first_us: float
    """Verifying a message, and handing it to the node."""
    receive_us: float
    """Taking any RPC, a copy of a known message too."""
    send_us: float


@dataclass
class Load:
    """What a node has done."""

    busy_ms: float = 0.0
    received: int = 0
    sent: int = 0
    received_bytes: int = 0
    sent_bytes: int = 0
    copies: int = 0
    """Messages received, each time."""
    control_ms: float = 0.0
    """What of `busy_ms` went into control RPCs: it hardly grows with the messages."""


@dataclass(slots=True)
class Node:
    """A node and all that it knows. Peers are numbers, and so are messages."""

    delay_ms: dict[int, float] = field(default_factory=dict)
    """Connected peers, and how far away they are."""
    mesh: set[int] = field(default_factory=set)
    """Whom it forwards to."""
    waits_until: dict[int, float] = field(default_factory=dict)
    pruned_at: dict[int, float] = field(default_factory=dict)
    seen: set[int] = field(default_factory=set)
    recent: deque[list[int]] = field(default_factory=deque)
    free_at: float = 0.0
    load: Load = field(default_factory=Load)
    is_alive: bool = True


@dataclass(slots=True)
class _Control:
    """A control RPC."""

    is_graft: bool = False
    is_prune: bool = False
    announced: tuple[int, ...] = ()
    wanted: tuple[int, ...] = ()

    @property
    def size_bytes(self) -> int:
        parts = self.is_graft + self.is_prune + bool(self.announced) + bool(self.wanted)
        return parts * CONTROL_BYTES + ID_BYTES * (len(self.announced) + len(self.wanted))


@dataclass
class Message:
    """A message from its publication on."""

    publisher: int
    published_ms: float
    taken_ms: dict[int, float] = field(default_factory=dict)
    """When each node took it as new."""


class Mesh:
    """Nodes numbered from 0, connected by `links`. Same arguments: the same events in the same order.

    Each link has a delay of its own, log-normal around `delay_ms` with a deviation of `delay_spread` in
    the logarithm, both ways the same: what is sent on it arrives in order.
    """

    def __init__(
        self,
        nodes: int,
        links: Iterable[tuple[int, int]],
        rules: Rules,
        costs: Costs,
        *,
        seed: int,
        delay_ms: float = 5.0,
        delay_spread: float = 0.5,
        message_bytes: int = 1_000,
    ) -> None:
        self.now = 0.0
        self.messages: list[Message] = []
        self._rules, self._costs = rules, costs
        self._message_bytes = message_bytes + ENVELOPE_BYTES
        self._random = Random(seed)
        self._heap: list[tuple[float, int, Callable[..., None], tuple[object, ...]]] = []
        self._order = 0
        self.nodes = [Node(recent=deque([[]], maxlen=rules.kept_beats)) for _ in range(nodes)]
        for node in range(nodes):
            self.schedule(self._random.uniform(0, rules.heartbeat_ms), self._heartbeat, node)
        for one, other in links:
            link_ms = self._random.lognormvariate(math.log(delay_ms), delay_spread)
            at = self._random.uniform(0, rules.heartbeat_ms)
            self.schedule(at, self._meet, one, other, link_ms)
            self.schedule(at, self._meet, other, one, link_ms)

    # --- what a caller does ------------------------------------------------------------------------------

    def schedule(self, at_ms: float, do: Callable[..., None], *arguments: object) -> None:
        """Have something done at a time."""
        self._order += 1
        heapq.heappush(self._heap, (at_ms, self._order, do, arguments))

    def run(self, until_ms: float) -> None:
        """Let time pass."""
        while self._heap and self._heap[0][0] <= until_ms:
            self.now, _, do, arguments = heapq.heappop(self._heap)
            do(*arguments)
        self.now = until_ms

    def publish(self, number: int) -> None:
        """A node makes a message."""
        message = len(self.messages)
        self.messages.append(Message(number, self.now))
        self.nodes[number].seen.add(message)
        self._forward(number, message, came_from=number)

    def leave(self, number: int) -> None:
        """A node goes, and all its connections with it."""
        node = self.nodes[number]
        node.is_alive = False
        for peer in node.delay_ms:
            self.nodes[peer].delay_ms.pop(number)
            self.nodes[peer].mesh.discard(number)

    def reset_loads(self) -> None:
        """Count from now on."""
        for node in self.nodes:
            node.load = Load()

    @property
    def alive(self) -> list[int]:
        """The nodes that have not left."""
        return [number for number, node in enumerate(self.nodes) if node.is_alive]

    # --- what nodes do -----------------------------------------------------------------------------------

    def _meet(self, number: int, peer: int, link_ms: float) -> None:
        node = self.nodes[number]
        node.delay_ms[peer] = link_ms
        if len(node.mesh) < self._rules.degree_low and peer not in node.mesh:
            node.mesh.add(peer)
            self._send(number, peer, _Control(is_graft=True))

    def _heartbeat(self, number: int) -> None:
        node, rules = self.nodes[number], self._rules
        if not node.is_alive:
            return
        controls: dict[int, _Control] = {}
        if len(node.mesh) < rules.degree_low:
            for peer in self._some_outside(node, rules.degree - len(node.mesh)):
                node.mesh.add(peer)
                controls[peer] = _Control(is_graft=True)
        elif len(node.mesh) > rules.degree_high:
            for peer in self._random.sample(sorted(node.mesh), len(node.mesh) - rules.degree):
                node.mesh.discard(peer)
                controls[peer] = _Control(is_prune=True)
        fresh = [message for beat in list(node.recent)[: rules.announced_beats] for message in beat]
        if fresh:
            for peer in self._some_outside(node, rules.announced_to(len(node.delay_ms) - len(node.mesh))):
                controls.setdefault(peer, _Control()).announced = tuple(fresh[:IDS_MAX])
        for peer, control in controls.items():
            self._send(number, peer, control)
        node.recent.appendleft([])
        self.schedule(self.now + rules.heartbeat_ms, self._heartbeat, number)

    def _some_outside(self, node: Node, most: int) -> list[int]:
        """Peers outside the mesh that have not asked to be left alone."""
        outside = [
            peer
            for peer in node.delay_ms
            if peer not in node.mesh and node.waits_until.get(peer, 0.0) <= self.now
        ]
        return outside if most >= len(outside) else self._random.sample(outside, most)

    def _forward(self, number: int, message: int, came_from: int) -> None:
        node = self.nodes[number]
        node.recent[0].append(message)
        receivers = node.mesh if len(node.mesh) >= self._rules.degree_low else node.delay_ms
        for peer in sorted(receivers):
            if peer not in (came_from, self.messages[message].publisher):
                self._send(number, peer, message)

    def _hear(self, number: int, peer: int, what: int | _Control) -> None:
        node = self.nodes[number]
        if not node.is_alive:
            return
        node.load.received += 1
        node.load.received_bytes += self._size_bytes(what)
        self._work(node, self._costs.receive_us, what)
        if isinstance(what, _Control):
            self._obey(number, peer, what)
            return
        node.load.copies += 1
        if what not in node.seen:
            node.seen.add(what)
            self._work(node, self._costs.first_us, what)
            self.messages[what].taken_ms[number] = node.free_at
            self._forward(number, what, peer)

    def _obey(self, number: int, peer: int, control: _Control) -> None:
        node = self.nodes[number]
        if control.is_prune:
            node.mesh.discard(peer)
            node.pruned_at[peer] = self.now
            node.waits_until[peer] = self.now + self._rules.back_off_ms
        if control.is_graft:
            self._take_graft(number, peer)
        if wanted := tuple(message for message in control.announced if message not in node.seen):
            self._send(number, peer, _Control(wanted=wanted))
        for message in control.wanted[:IDS_MAX]:
            if any(message in beat for beat in node.recent):
                self._send(number, peer, message)

    def _take_graft(self, number: int, peer: int) -> None:
        node = self.nodes[number]
        if self.now - node.pruned_at.get(peer, -math.inf) < self._rules.flood_ms:
            self._send(number, peer, _Control(is_prune=True))
        elif node.waits_until.get(peer, 0.0) > self.now:
            node.waits_until[peer] = self.now + self._rules.back_off_ms
            self._send(number, peer, _Control(is_prune=True))
        elif peer in node.delay_ms:
            node.mesh.add(peer)

    # --- what it takes -----------------------------------------------------------------------------------

    def _send(self, number: int, peer: int, what: int | _Control) -> None:
        node = self.nodes[number]
        if peer in node.delay_ms:
            self._work(node, self._costs.send_us, what)
            node.load.sent += 1
            node.load.sent_bytes += self._size_bytes(what)
            self.schedule(node.free_at + node.delay_ms[peer], self._hear, peer, number, what)

    def _size_bytes(self, what: int | _Control) -> int:
        return what.size_bytes if isinstance(what, _Control) else self._message_bytes

    def _work(self, node: Node, cost_us: float, what: int | _Control) -> None:
        """Keep a node busy, from now on or after what it is at."""
        node.free_at = max(node.free_at, self.now) + cost_us / 1_000
        node.load.busy_ms += cost_us / 1_000
        if isinstance(what, _Control):
            node.load.control_ms += cost_us / 1_000
