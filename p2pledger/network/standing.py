"""What each peer has done to us lately, and who is cut off for it. Floor 6.

One score for a peer, kept by the library's scorer, which gossip asks before it forwards or accepts. It
only falls: delivering much earns nothing, since a ledger's peers are known and few. It heals with time.
At BAN_SCORE a peer is cut off for a bounded time and then starts clean.
"""

from collections.abc import Callable, Iterable
from enum import Enum

import trio
from libp2p.peer.id import ID
from libp2p.pubsub.score import PeerScorer, ScoreParams, TopicScoreParams

BAN_SCORE = -100.0
BAN_S = 300.0

INVALID_MESSAGE_COST = 5.0
"""The score that one refused gossip message costs its forwarder: twenty within a minute or two ban it."""

HEAL_PER_S = 0.995
"""What is left of a cost after a second: half of it after 138 s."""


class Offence(Enum):
    """What no honest peer does. The value is the reason's label in the metrics."""

    GOSSIP = "gossip"
    FRAME = "frame"
    REQUEST = "request"
    MUXER = "muxer"
    INVALID = "invalid"


COST = {
    Offence.GOSSIP: 25.0,
    Offence.FRAME: 25.0,
    Offence.REQUEST: 10.0,
    Offence.MUXER: 100.0,
    Offence.INVALID: INVALID_MESSAGE_COST,
}


def score_params() -> ScoreParams:
    """The library's parameters under which the score is what this file says."""
    return ScoreParams(
        p4_invalid_messages=TopicScoreParams(weight=INVALID_MESSAGE_COST, cap=100.0, decay=HEAL_PER_S),
        p5_behavior_penalty_weight=1.0,
        p5_behavior_penalty_decay=HEAL_PER_S,
        gossip_threshold=BAN_SCORE / 4,
        publish_threshold=BAN_SCORE / 2,
        graylist_threshold=BAN_SCORE * 3 / 4,
        accept_px_threshold=1.0,
    )


class Standing(PeerScorer):
    """Scores and bans. Only peers that were admitted ever appear here, so it stays small.

    `on_ban` is called once when a peer becomes banned. `topics` are the names on the wire.
    """

    def __init__(self, topics: Iterable[str], on_ban: Callable[[ID, Offence], None], ban_s: float) -> None:
        super().__init__(score_params())
        self._topics = list(topics)
        self._on_ban = on_ban
        self._ban_s = ban_s
        self._banned_until: dict[ID, float] = {}

    def offend(self, peer: ID, offence: Offence) -> None:
        """Count an offence; it may ban the peer."""
        self.penalize_behavior(peer, COST[offence])
        self._judge(peer, offence)

    def refuse(self, peer: ID, topic: str) -> None:
        """Count a gossip message that the peer forwarded and that was invalid by its bytes alone."""
        self.on_invalid_message(peer, topic)
        self._judge(peer, Offence.INVALID)

    def is_banned(self, peer: ID) -> bool:
        until = self._banned_until.get(peer)
        if until is None:
            return False
        if trio.current_time() < until:
            return True
        del self._banned_until[peer]
        return False

    def total(self, peer: ID) -> float:
        """The peer's score over everything; 0 is spotless."""
        return self.score(peer, self._topics)

    def forget(self, peer: ID) -> None:
        """Drop everything known of a peer that is no longer admitted."""
        super().remove_peer(peer)
        self._banned_until.pop(peer, None)

    def remove_peer(self, peer: ID) -> None:
        """Called at a disconnect. The record stays: reconnecting does not wash a peer clean."""

    def _judge(self, peer: ID, offence: Offence) -> None:
        if self.total(peer) <= BAN_SCORE and not self.is_banned(peer):
            self._banned_until[peer] = trio.current_time() + self._ban_s
            super().remove_peer(peer)
            self._on_ban(peer, offence)
