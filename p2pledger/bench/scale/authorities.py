"""What an agreement costs as authorities grow in number: real cores in the simulator, nobody faulty. Floor 9.

The processor's time is that of all nodes together: agreeing, signing and verifying ECDSA, executing and
storing each block at every node, and with it the simulator's own share, about a quarter. Not the network:
what a frame costs there is an assumption. Nor SQLite and gossip, which hardly grow with the number.
"""

import time
from collections import Counter
from dataclasses import dataclass
from typing import Any

from p2pledger.bench.scale.assumptions import Assumptions
from p2pledger.chain.message import Frame
from p2pledger.chain.transaction import Batch
from p2pledger.codec import encode
from p2pledger.simulator.city import START_MS
from p2pledger.simulator.happenings import Delivered, Gossip, Happening, Replied, Transactions
from p2pledger.simulator.judge import Violation
from p2pledger.simulator.node import Node
from p2pledger.simulator.run import Case, build
from p2pledger.simulator.world import World
from p2pledger.types import PeerId

SEED = 0
"""One of the seeds with which every node executes every block itself."""
DELAY_MS = (1, 5)
WARM_BLOCKS = 2
END_MS = 600_000


class CountingWorld(World):
    """A world that counts what is sent, by what it is, and how long it would be when encoded."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        self.messages: Counter[str] = Counter()
        self.size_bytes: Counter[str] = Counter()
        self._last: tuple[Happening | None, str, int] = (None, "", 0)
        super().__init__(*arguments, **options)

    def transmit(self, sender: Node, receiver: PeerId, what: Happening) -> None:
        """See `World.transmit`."""
        if what is not self._last[0]:
            self._last = (what, *_measured(what))
        self._count(*self._last[1:])
        super().transmit(sender, receiver, what)

    def post(self, at: int, node: Node, what: Happening) -> None:
        """See `World.post`."""
        if isinstance(what, Replied) and not what.is_failed:
            self._count("ask", len(encode(what.ask.request)) + sum(len(encode(r)) for r in what.replies))
        super().post(at, node, what)

    def _count(self, name: str, n_bytes: int) -> None:
        self.messages[name] += 1
        self.size_bytes[name] += n_bytes


def _measured(what: Happening) -> tuple[str, int]:
    match what:
        case Delivered(_, frame):
            item: Frame | Any = frame
            name = type(frame).__name__.lower()
        case Gossip(item):
            name = "gossip"
        case Transactions(transactions):
            item, name = Batch(tuple(each.encoded for each in transactions)), "gossip"
        case _:
            raise AssertionError(f"{what} is sent by nobody honest")
    return name, len(encode(item))


@dataclass(frozen=True)
class Agreement:
    """What one final block takes with so many authorities, all of them together unless it says otherwise."""

    authorities: int
    blocks: int
    messages: float
    size_bytes: int
    node_messages: float
    node_bytes: int
    cpu_ms: float
    node_cpu_ms: float
    node_frames_ms: float
    """Sending and receiving its messages, as assumed."""
    full_at: float
    """Blocks a second with which a node fills a core by all that."""
    simulated_ms: float
    """From block to block, on links of DELAY_MS."""
    messages_of: dict[str, float]
    bytes_of: dict[str, int]


def agreement(authorities: int, how: Assumptions) -> Agreement:
    """Run a ledger until it has so many more final blocks. Raises: Violation when it does not get there."""
    case = Case(
        seed=SEED,
        n=authorities,
        is_changing=False,
        followers=0,
        loss=0.0,
        duplication=0.0,
        delay_ms=DELAY_MS,
        faults=(),
        is_real=True,
    )
    world = build(case, CountingWorld)
    assert isinstance(world, CountingWorld)
    _run_to(world, WARM_BLOCKS)
    world.messages.clear()
    world.size_bytes.clear()
    began_ms, began_s, first = world.now, time.process_time(), world.judge.height
    _run_to(world, first + how.blocks)
    cpu_ms = (time.process_time() - began_s) * 1_000
    made = world.judge.height - first
    messages, size_bytes = world.messages.total() / made, world.size_bytes.total() / made
    node_cpu_ms = cpu_ms / made / authorities
    node_frames_ms = messages / authorities * how.frame_us / 1_000
    return Agreement(
        authorities=authorities,
        blocks=made,
        messages=round(messages, 1),
        size_bytes=round(size_bytes),
        node_messages=round(messages / authorities, 1),
        node_bytes=round(size_bytes / authorities),
        cpu_ms=round(cpu_ms / made, 1),
        node_cpu_ms=round(node_cpu_ms, 2),
        node_frames_ms=round(node_frames_ms, 2),
        full_at=round(1_000 / (node_cpu_ms + node_frames_ms), 1),
        simulated_ms=round((world.now - began_ms) / made, 1),
        messages_of={name: round(n / made, 1) for name, n in sorted(world.messages.items())},
        bytes_of={name: round(n / made) for name, n in sorted(world.size_bytes.items())},
    )


def _run_to(world: World, height: int) -> None:
    if not world.run(lambda: world.judge.height >= height, START_MS + END_MS):
        raise Violation("liveness", f"height {world.judge.height} after {END_MS} ms, not {height}")
