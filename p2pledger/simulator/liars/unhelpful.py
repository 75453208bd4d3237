"""Claims to be far ahead, answers nothing of use, proposes what only it has, and skips every view. Floor 8.

Tries to have others wait for it for ever. Stopped by: every question has a time limit and goes to the next
peer; a view whose block's bodies are withheld is skipped at its deadline; a claim alone moves nobody.
"""

from dataclasses import replace
from random import Random
from typing import TYPE_CHECKING

from p2pledger.chain.block import FinalBlock
from p2pledger.chain.message import Certificates, Frame, Reply, Request, Status
from p2pledger.chain.transaction import Batch
from p2pledger.chain.vote import Evidence, Vote, VoteKind, skip
from p2pledger.consensus.events import Send
from p2pledger.simulator.liars.liar import Liar, Said, vote_of
from p2pledger.types import Height

if TYPE_CHECKING:
    from p2pledger.simulator.node import Node

HIDDEN_FROM = 9_000
"""Numbers of transactions that no client ever submits."""


class Unhelpful(Liar):
    """Has everything, gives nothing."""

    def __init__(self, random: Random) -> None:
        super().__init__(random)
        self._hidden = HIDDEN_FROM

    def say(self, node: "Node", send: Send) -> list[Said]:
        """See `Liar.say`."""
        match send.frame:
            case Status() as status:
                return [replace(send, frame=replace(status, final_height=Height(10**9)))]
            case Batch():
                return []
            case Vote(ballot) if ballot.kind is not VoteKind.SKIP and self.random.random() < 0.8:
                return [Send(vote_of(node, skip(ballot.epoch, ballot.view)))]
            case _:
                return [send]

    def hear(self, node: "Node", heard: Frame | FinalBlock | Evidence) -> list[Said]:
        """Before it leads, it thinks of a transaction, and tells nobody."""
        s = node.core.situation
        if isinstance(heard, Vote) and s.leader(s.view) == s.voice.index and self.random.random() < 0.2:
            self._hidden += 1
            node.pool.take([node.world.city.transaction(self._hidden)], node.clock())
        return []

    def answer(self, node: "Node", request: Request, replies: tuple[Reply, ...]) -> tuple[Reply, ...]:
        """See `Liar.answer`. To some, a body is given: whoever votes for its block then has to serve it."""
        if replies and isinstance(replies[0], Batch) and self.random.random() < 0.5:
            return replies
        return (Certificates(()),)
