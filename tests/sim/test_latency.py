"""How long agreement takes where nothing takes time but the links: what is left is waiting by rule."""

from collections import defaultdict
from dataclasses import replace
from itertools import pairwise
from statistics import mean, median

import pytest
from p2pledger.chain.block import Proposal
from p2pledger.chain.genesis import LAN
from p2pledger.simulator.city import START_MS, City
from p2pledger.simulator.happenings import Delivered
from p2pledger.simulator.node import Node
from p2pledger.simulator.world import World

EVERY_MS = 10
LOAD_MS = 4_000


class Town(City):
    """The LAN profile with an epoch that does not end; every transaction of it is good."""

    @property
    def parameters(self):
        return replace(LAN, state_buckets=16)

    def nth(self, count):
        """A record that is neither refused nor short-lived (`City.transaction`)."""
        return self.transaction([k for k in range(3, 3 * count + 10) if k % 7 and k % 11][count])


class Measured:
    """Four authorities under steady load in virtual time. All times in milliseconds."""

    def __init__(self, delay_ms: int) -> None:
        town = Town(4)
        self._world = world = World(town, 1)
        world.links.delay_ms = (delay_ms, delay_ms)
        self.said: dict[bytes, int] = {}
        self.final: dict[bytes, dict[int, int]] = defaultdict(dict)
        self._sent: dict[bytes, tuple[int, int]] = {}
        self.client: list[int] = []
        self.watch(world)
        for device in range(3):
            world.schedule(START_MS + 1_500, lambda i=device: world.submit(0, (town.transaction(i),)))
        begin = START_MS + 2_500
        for number in range(LOAD_MS // EVERY_MS):
            transaction = town.nth(number)
            node = (number * 7 // 3) % 4

            def submit(transaction=transaction, node=node) -> None:
                self._sent[transaction.id] = node, world.now
                world.submit(node, (transaction,))

            world.schedule(begin + number * EVERY_MS, submit)
        world.run(lambda: len(self.client) == LOAD_MS // EVERY_MS, begin + LOAD_MS + 2_000)
        times = sorted(at for at in self.said.values() if begin + 500 <= at < begin + LOAD_MS)
        self.between = [later - at for at, later in pairwise(times)]

    def watch(self, world: World) -> None:
        """Note when each block is proposed, and when it is final at each node."""
        on_final, transmit = world.judge.on_final, world.transmit

        def finals(node: Node, block) -> None:
            on_final(node, block)
            self.final[block.header.digest][node.number] = node.cursor
            for transaction_id in block.transaction_ids:
                sent = self._sent.get(transaction_id)
                if sent is not None and sent[0] == node.number:
                    self.client.append(node.cursor - sent[1])

        def sends(sender: Node, receiver, what) -> None:
            if isinstance(what, Delivered) and isinstance(what.frame, Proposal):
                self.said.setdefault(what.frame.header.digest, sender.cursor)
            transmit(sender, receiver, what)

        world.judge.on_final, world.transmit = finals, sends

    @property
    def proposal_to_final(self) -> list[int]:
        """For each block and node."""
        return [at - said for digest, said in self.said.items() for at in self.final[digest].values()]


@pytest.mark.parametrize("delay_ms", [1, 10, 40, 80])
def test_a_block_is_final_at_every_node_three_delays_after_its_proposal(delay_ms):
    measured = Measured(delay_ms)
    assert len(measured.client) == LOAD_MS // EVERY_MS
    assert measured.proposal_to_final and set(measured.proposal_to_final) == {3 * delay_ms}


def test_where_the_links_take_longer_than_the_interval_no_leader_waits():
    """A leader proposes when its parent is certified, two delays after the parent was proposed.

    A transaction then waits for its gossip, which the leader's own are spared, and half of a view.
    """
    measured = Measured(40)
    rest_ms = 3
    assert min(measured.between) >= 80 and max(measured.between) <= 80 + rest_ms
    assert mean(measured.client) < 3 / 4 * 40 + 80 / 2 + 3 * 40 + 10


def test_on_short_links_blocks_come_an_interval_after_the_parent_arrived():
    measured = Measured(1)
    assert median(measured.between) == LAN.block_interval_ms + 1
    assert mean(measured.client) < 1 + (LAN.block_interval_ms + 1) / 2 + 3 + 5
