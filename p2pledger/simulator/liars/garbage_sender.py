"""Sends random bytes, and true messages with bits flipped, cut short, or spliced together. Floor 8.

Tries to break whoever reads them, or to have something believed that nobody said. Stopped by: one encoding
per value, limits on every field, and signatures over all that counts.
"""

from typing import TYPE_CHECKING

from p2pledger.chain.message import Frame, Reply, Request
from p2pledger.codec import decode, encode
from p2pledger.consensus.events import Send
from p2pledger.errors import InvalidMessage
from p2pledger.simulator.liars.liar import Liar, Said, SendBytes

if TYPE_CHECKING:
    from p2pledger.simulator.node import Node

RANDOM_BYTES_MAX = 256


class GarbageSender(Liar):
    """Each message is followed by one bent one, to one peer."""

    _last = b""

    def say(self, node: "Node", send: Send) -> list[Said]:
        """See `Liar.say`."""
        if self.random.random() < 0.5:
            return [send]
        true = encode(send.frame, Frame)
        peer = self.random.randrange(len(node.core.situation.authorities))
        garbage = SendBytes(self._bent(true), peer)
        self._last = true
        return [garbage] if self.random.random() < 0.2 else [send, garbage]

    def answer(self, node: "Node", request: Request, replies: tuple[Reply, ...]) -> tuple[Reply, ...]:
        """See `Liar.answer`. Of what is bent, that arrives which decodes."""
        answered: list[Reply] = []
        for reply in replies[:4]:
            try:
                answered.append(decode(Reply, self._bent(encode(reply, Reply))))
            except InvalidMessage:
                node.world.counts["frames that do not decode"] += 1
        return tuple(answered) if self.random.random() < 0.5 else replies

    def _bent(self, true: bytes) -> bytes:
        random, cut = self.random, self.random.randrange(len(true))
        match random.randrange(5):
            case 0:
                return random.randbytes(random.randrange(RANDOM_BYTES_MAX))
            case 1:
                return true[:cut]
            case 2:
                return true[:cut] + self._last[cut:]
            case 3:
                return true[:cut] + random.randbytes(random.randrange(4)) + true[cut:]
            case _:
                flipped = bytearray(true)
                for _ in range(random.randint(1, 3)):
                    flipped[random.randrange(len(flipped))] ^= 1 << random.randrange(8)
                return bytes(flipped)
