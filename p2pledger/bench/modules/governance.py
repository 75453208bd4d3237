"""Blocks of governance's kinds; and how the bench has things decided that it needs. Floor 9.

An organisation has few proposals open at once, so a block of these has fewer transactions than others. Every
third vote decides, and every third call suspends: the dearest of each are measured with the others.
"""

from collections.abc import Iterator, Sequence
from typing import Any

from p2pledger.bench.modules.turn import Turn, made
from p2pledger.bench.solo import AUTHORITIES, Solo, admin, consensus_key
from p2pledger.chain.genesis import Quota
from p2pledger.chain.payloads import (
    AuthorityRotate,
    GovPropose,
    GovSuspend,
    GovVote,
    OrgQuota,
    OrgRegister,
    sign_ready,
)
from p2pledger.chain.transaction import Transaction
from p2pledger.codec import encode
from p2pledger.ledger.modules.governance.rows import PROPOSALS_MAX
from p2pledger.types import ZERO_HASH, Hash, Height, Millis, PeerId

MAJORITY = 3
"""How many of the four authorities decide."""
SUSPECT = "suspect"
MEASURES = (OrgRegister(SUSPECT, "department", (admin(SUSPECT).public_key,), 1, Quota(1, 1)),)
"""The organisation that is suspended, again and again, so that none of the others is."""


def decide(ledger: Solo, measures: Sequence[Any]) -> None:
    """Have measures proposed and adopted in two blocks; they work from the one after these on."""
    name = AUTHORITIES[0]
    proposals = [made(ledger, _proposal(ledger, one), name, admin(name)) for one in measures]
    ledger.commit(ledger.execute(proposals))
    ledger.commit(
        ledger.execute(
            [
                made(ledger, GovVote(proposal.id, approves=True), name, admin(name))
                for proposal in proposals
                for name in AUTHORITIES[:MAJORITY]
            ]
        )
    )


def kinds(turn: Turn) -> Iterator[list[Transaction]]:
    """A block of each kind, each to be stored before the next is asked for."""
    ledger, numbers = turn.ledger, range(turn.count)
    quota = OrgQuota(SUSPECT, Quota(turn.number, turn.number))
    proposals = [
        _by_authority(turn, i % len(AUTHORITIES), _proposal(ledger, quota))
        for i in numbers[: PROPOSALS_MAX * len(AUTHORITIES)]
    ]
    yield proposals
    yield [
        _by_authority(turn, i % MAJORITY, GovVote(proposals[i // MAJORITY].id, approves=True))
        for i in numbers[: MAJORITY * len(proposals)]
    ]
    after_ms = ledger.next_round.time_ms + 1
    yield [
        _by_authority(turn, i % MAJORITY, GovSuspend(SUSPECT, Millis(after_ms + i // MAJORITY)))
        for i in numbers
    ]
    height = Height(ledger.next_round.height - 1)
    yield [_ready(turn, i % len(AUTHORITIES), height) for i in numbers]
    yield [
        _by_authority(turn, i % len(AUTHORITIES), AuthorityRotate(key.public_key, PeerId(turn.id("seat", i))))
        for i, key in enumerate(turn.keys("seat"))
    ]


def _proposal(ledger: Solo, measure: Any) -> GovPropose:
    """A measure put to the vote, to be decided in the block after the proposal's own."""
    height = Height(ledger.next_round.height + 2)
    return GovPropose(measure.KIND, encode(measure), height, "bench", ZERO_HASH)


def _by_authority(turn: Turn, number: int, payload: Any) -> Transaction:
    return turn.of(payload, AUTHORITIES[number], admin(AUTHORITIES[number]))


def _ready(turn: Turn, number: int, height: Height) -> Transaction:
    name = AUTHORITIES[number]
    key, digest = consensus_key(name), Hash(ZERO_HASH)
    return _by_authority(turn, number, sign_ready(turn.ledger.genesis.hash, key, height, digest))
