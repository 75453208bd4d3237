"""Says again what it heard long ago: proposals, certificates, statuses; to each peer its old votes. Floor 8.

Tries to have what was true once taken for true now, and to have honest authorities believe that their guard
was lost. Stopped by: epoch and view in all that is signed; whoever meets its own vote knows what it has given
(R8).
"""

from dataclasses import replace
from random import Random
from typing import TYPE_CHECKING

from p2pledger.chain.block import FinalBlock
from p2pledger.chain.message import Frame, Status
from p2pledger.chain.transaction import Batch
from p2pledger.chain.vote import Evidence, Vote
from p2pledger.consensus.catchup import status_for
from p2pledger.consensus.events import Send
from p2pledger.simulator.liars.liar import Liar, Rumour, Said

if TYPE_CHECKING:
    from p2pledger.simulator.node import Node

KEPT_MAX = 256


class Replayer(Liar):
    """Forgets little."""

    def __init__(self, random: Random) -> None:
        super().__init__(random)
        self._kept: list[Frame | FinalBlock | Evidence] = []

    def hear(self, node: "Node", heard: Frame | FinalBlock | Evidence) -> list[Said]:
        """See `Liar.hear`. It keeps what it hears, old and new alike."""
        if isinstance(heard, Batch):
            return []
        if len(self._kept) < KEPT_MAX:
            self._kept.append(heard)
        elif self.random.random() < 0.2:
            self._kept[self.random.randrange(KEPT_MAX)] = heard
        return []

    def say(self, node: "Node", send: Send) -> list[Said]:
        """See `Liar.say`."""
        if not self._kept or self.random.random() < 0.5:
            return [send]
        peers = len(node.core.situation.authorities)
        match self.random.choice(self._kept):
            case Vote(_, signer) as old:
                if signer >= peers:
                    return [send]
                is_reply = self.random.random() < 0.5
                status = replace(status_for(node.core.situation, signer, is_reply=is_reply), echo=(old,))
                return [send, Send(status, signer)]
            case FinalBlock() | Evidence() as item:
                return [send, Rumour(item)]
            case Status() as old_status:
                return [send, Send(replace(old_status, is_reply=True), self.random.randrange(peers))]
            case frame:
                return [send, Send(frame, self.random.randrange(peers))]
