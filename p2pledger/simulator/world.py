"""The world around the nodes: time, links, who runs and who does not. Floor 8.

A heap of (time, order, happening): the earliest goes first, and of two at once the one that was posted
first. All chance comes from one seed, drawn in streams of their own for links and plan, so that leaving
out a fault changes nothing else of the plan.
"""

import heapq
from collections import Counter
from collections.abc import Callable
from hashlib import blake2b
from random import Random
from typing import TYPE_CHECKING

from p2pledger.chain.transaction import Transaction
from p2pledger.chain.vote import Vote
from p2pledger.consensus import events
from p2pledger.errors import Fatal
from p2pledger.node.layers import Layer
from p2pledger.simulator.city import START_MS, City
from p2pledger.simulator.disk import Disk, MemoryGuard
from p2pledger.simulator.happenings import Gossip, Happening, Replied, Transactions
from p2pledger.simulator.judge import Judge, Violation
from p2pledger.simulator.liars.liar import HONEST, Liar
from p2pledger.simulator.links import Links
from p2pledger.simulator.node import CrashPoint, Node
from p2pledger.simulator.sharing import EVERYWHERE_EVERY
from p2pledger.storage.memory import MemoryStore
from p2pledger.types import Hash, PeerId

if TYPE_CHECKING:
    from p2pledger.simulator.townsfolk import Townsfolk

EVENTS_MAX = 2_000_000
"""A run that needs more goes nowhere."""


class World:
    """One run: its nodes, and everything that happens to them."""

    def __init__(self, city: City, seed: int, *, followers: int = 0) -> None:
        self.city, self.seed = city, seed
        self.now: int = START_MS
        self.leapt_ms = 0
        """How far every clock is ahead of `now`, beside its own skew."""
        self.links = Links(Random(f"{seed}/links"))
        self.counts: Counter[str] = Counter()
        self.judge = Judge(city)
        self.worked_out: dict[Hash, Layer] | None = None if seed % EVERYWHERE_EVERY == 0 else {}
        """Blocks that some node has executed; None when every node is to execute all of them itself."""
        self.townsfolk: Townsfolk | None = None
        self.liars: dict[int, Liar] = {}
        self.seconds: dict[int, Node] = {}
        """Second processes of a node, by its number: they are told the same, over links of their own."""
        self.delay_ms = self.links.delay_ms
        self.faulty: set[int] = set()
        """Numbers of those that the fault budget is spent on: the dead, liars, lost and restored guards."""
        self.dead: set[int] = set()
        """Numbers of the nodes that never start again."""
        self.observe: Callable[[int, int, Happening | Vote], None] | None = None
        self._heap: list[tuple[int, int, Node | None, Callable[[], None] | Happening]] = []
        self._order = 0
        self._trace = blake2b(digest_size=16)
        self._both: set[tuple[int, int]] = set()
        self._views: dict[int, tuple[int, int]] = {}
        self.nodes: list[Node] = []
        for number in range(city.authorities + followers):
            is_authority = number < city.authorities
            guard = MemoryGuard() if is_authority else None
            self.nodes.append(self._boot(number, Disk(MemoryStore(city.genesis, city.start), guard)))

    # --- nodes -------------------------------------------------------------------------------------------

    def _boot(self, number: int, disk: Disk, skew_ms: int = 0) -> Node:
        key = self.city.signer(number + 1) if number < self.city.authorities else None
        node = Node(self, number, disk, key, self.liars.get(number, HONEST), skew_ms)
        self.judge.on_start(node)
        self.post(self.now, node, events.Tick())
        return node

    def bribe(self, number: int, liar: Liar) -> None:
        """From now on this node lies in this manner."""
        self.liars[number] = self.nodes[number].liar = liar
        liar.bend(self.nodes[number])
        self.faulty.add(number)

    def crash(self, node: Node) -> None:
        """The node stops; what is not on its disk is gone."""
        if not node.is_alive:
            return
        if node.armed is CrashPoint.AFTER_PERSIST:
            self.counts["crashes between persist and send"] += 1
        self.counts["crashes"] += 1
        node.is_alive = False

    def restart(self, number: int) -> None:
        """Start a node again on what its disk holds. One that runs is left alone, and the dead stay dead."""
        old = self.nodes[number]
        if not old.is_alive and number not in self.dead:
            node = self.nodes[number] = self._boot(number, old.disk, old.skew_ms)
            for other in self.nodes:
                if other is not node:
                    self._connect(node, other)

    def double(self, number: int) -> None:
        """Start a second process with the same signer beside the first, on a chain store of its own."""
        first = self.nodes[number]
        store = MemoryStore(self.city.genesis, self.city.start)
        second = self._boot(number, Disk(store, first.disk.guard))
        second.signer = first.signer
        self.seconds[number] = second

    def stop_double(self, number: int) -> None:
        """The second process ends."""
        if (second := self.seconds.pop(number, None)) is not None:
            self.crash(second)

    def _connect(self, one: Node, other: Node) -> None:
        if one.is_alive and other.is_alive:
            one.meet(other.peer)
            other.meet(one.peer)

    def heal(self) -> None:
        """All links work again, and those that were cut stand anew."""
        for sender, receiver in sorted({(min(pair), max(pair)) for pair in self.links.cut}):
            self._connect(self.nodes[sender], self.nodes[receiver])
        self.links.heal()

    def jump(self, number: int, by_ms: int) -> None:
        """A node's clock is set, and the node notices before it does anything else by it."""
        node = self.nodes[number]
        if node.is_alive:
            self.post(self.now, node, events.ClockStepped(by_ms))
        else:
            node.skew_ms += by_ms

    def leap(self, by_ms: int) -> None:
        """So much time passes of which no clock shows anything but its end."""
        self.leapt_ms += by_ms
        for node in self.nodes:
            self.jump(node.number, by_ms)

    # --- time --------------------------------------------------------------------------------------------

    def number(self) -> int:
        """A number that was not given before in this run."""
        self._order += 1
        return self._order

    def post(self, at: int, node: Node, what: Happening) -> None:
        """Have something happen to this very node, unless it has stopped by then."""
        heapq.heappush(self._heap, (max(at, self.now), self.number(), node, what))

    def schedule(self, at: int, do: Callable[[], None]) -> None:
        """Have something done to the world."""
        heapq.heappush(self._heap, (max(at, self.now), self.number(), None, do))

    def run(self, until: Callable[[], bool], end_ms: int) -> bool:
        """Let time pass until a condition holds, asked after each change of height, or `end_ms` comes.

        Raises: Violation, also when a node stops because it found itself wrong.
        """
        height = -1
        while self._heap and self._heap[0][0] <= end_ms:
            if self.judge.changes != height:
                height = self.judge.changes
                if until():
                    return True
            self.now, _, node, what = heapq.heappop(self._heap)
            if node is None:
                what()  # type: ignore[operator]
            elif node.is_alive:
                self._step(node, what)  # type: ignore[arg-type]
        return until()

    def _step(self, node: Node, what: Happening) -> None:
        if self._order > EVENTS_MAX:
            raise Violation("liveness", f"{EVENTS_MAX} messages led nowhere")
        self._trace.update(b"%d %d %s;" % (self.now, node.number, type(what).__name__.encode()))
        if self.observe is not None:
            self.observe(self.now, node.number, what)
        try:
            node.happen(what)
        except Fatal as error:
            raise Violation("fatal", f"node {node.number} stopped: {error}") from error

    @property
    def trace_hash(self) -> str:
        """What happened, in 128 bits: two runs of one seed have the same."""
        trace = self._trace.copy()
        trace.update(self.judge.summary())
        return trace.hexdigest()

    # --- messages ----------------------------------------------------------------------------------------

    def _number_of(self, peer: PeerId) -> int:
        return int(peer.removeprefix("peer-"))

    def transmit(self, sender: Node, receiver: PeerId, what: Happening) -> None:
        """Send something over a link, as links are."""
        number = self._number_of(receiver)
        for delay in self.links.arrivals(sender.number, number):
            self._deliver(sender.cursor + delay, number, what)
        if (second := self.seconds.get(number)) is not None:
            for delay in self.links.arrivals(sender.number, number):
                self.post(sender.cursor + delay, second, what)

    def _deliver(self, at: int, number: int, what: Happening) -> None:
        """To whoever runs under this number by then."""

        def arrive() -> None:
            if (node := self.nodes[number]).is_alive:
                self._step(node, what)

        heapq.heappush(self._heap, (at, self.number(), None, arrive))

    def gossip(self, sender: Node, what: Gossip | Transactions) -> None:
        """Send something to everybody else."""
        for node in self.nodes:
            if node.number != sender.number:
                self.transmit(sender, node.peer, what)

    def submit(self, number: int, transactions: tuple[Transaction, ...]) -> None:
        """A client hands transactions to a node, which gossips them; nothing when it is down."""
        node = self.nodes[number]
        if node.is_alive:
            node.cursor = self.now
            self._step(node, Transactions(transactions))
            self.gossip(node, Transactions(transactions))

    def ask(self, asker: Node, peer: PeerId, number: int, ask: events.Ask) -> None:
        """Bring a question to a peer, and its answer back."""
        asked = self._number_of(peer)

        def answer() -> None:
            node = self.nodes[asked]
            if not node.is_alive:
                return
            replies = node.answer(ask.request)
            for delay in self.links.arrivals(asked, asker.number)[:1]:
                self.post(self.now + delay, asker, Replied(number, ask, replies))

        for delay in self.links.arrivals(asker.number, asked)[:1]:
            self.schedule(asker.cursor + delay, answer)

    def voted(self, node: Node, vote: Vote) -> None:
        """A node's key gave a vote."""
        if self.observe is not None:
            self.observe(self.now, node.number, vote)
        self.judge.on_vote(node, vote)

    # --- what is counted ---------------------------------------------------------------------------------

    def on_enter(self, node: Node, entered: events.Enter) -> None:
        """A node entered a view."""
        s = node.core.situation
        self.counts["views entered"] += 1
        epoch, view = self._views.get(node.number, (0, 0))
        if epoch == entered.epoch and entered.view > view + 1:
            self.counts["views jumped"] += 1
        if epoch < entered.epoch:
            self.counts["epoch boundaries crossed"] += 1
        self._views[node.number] = (entered.epoch, entered.view)
        for both in s.tally.notarised.keys() & s.tally.skipped.keys():
            if (s.epoch, both) not in self._both:
                self._both.add((s.epoch, both))
                self.counts["views with both N and X certificates"] += 1
        for proposal in s.tally.proposals.values():
            if proposal.header.view != proposal.view:
                self.counts["re-proposals"] += 1

    # --- where things stand ------------------------------------------------------------------------------

    def heights(self) -> dict[int, int]:
        """The stored height of each honest node, by number; a stopped one too."""
        return {
            node.number: node.disk.store.tip().height for node in self.nodes if node.number not in self.faulty
        }
