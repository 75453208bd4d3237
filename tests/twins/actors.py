"""The five instances: real cores behind real guards, and every turn that any of them ever took.

A turn is all that an instance does at one moment: it takes what has arrived, signs, executes and builds by
rote, and says what is to be said. Same instance, moment and arrivals: same turn, because a core is a pure
function. So each turn is worked out once, by the real core, and remembered: schedules share most of theirs.
"""

import hashlib
import itertools
from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from typing import NamedTuple

from p2pledger.chain.block import FinalBlock, Header, evidence_root, tx_root
from p2pledger.chain.genesis import LAN
from p2pledger.chain.message import (
    BlocksRequest,
    Certificates,
    CertificatesRequest,
    ProposalsRequest,
    Request,
)
from p2pledger.chain.vote import Ballot, Vote
from p2pledger.consensus import catchup
from p2pledger.consensus.core import Consensus
from p2pledger.consensus.events import (
    Answered,
    Ask,
    AskFailed,
    Build,
    Built,
    Enter,
    Event,
    Execute,
    Executed,
    Judgement,
    Output,
    Pending,
    Received,
    Recovered,
    Sign,
    SignatureRefused,
    Signed,
    Tick,
)
from p2pledger.consensus.situation import Setting
from p2pledger.signer.guard import Guard, GuardRefused, check_guard
from p2pledger.simulator.city import is_keyed_hash, keyed_hash
from p2pledger.simulator.liars.liar import Shameless
from p2pledger.types import ZERO_HASH, Epoch, Hash, Height, Millis
from tests.sim.cluster import BASE, GENESIS_HASH, KEYS, authorities
from tests.twins.snapshot import copied

N = 4
AUTHORITIES = authorities(N)
PARAMETERS = replace(LAN, state_buckets=16, block_interval_ms=50, idle_interval_ms=600_000)
"""There is always work, so nothing is ever idle; and no block is too old for its round."""
START_MS = Millis(1_000_000)


@dataclass
class Actor:
    """One instance: its core, its own guard, and all that it ever signed and made final."""

    name: str
    core: Consensus
    guard: Guard = Guard()
    said: list[Ballot] = field(default_factory=list)
    chain: list[FinalBlock] = field(default_factory=list)


def born(name: str, identity: int, *, is_twin: bool) -> Actor:
    """An instance on an empty ledger."""
    found = Recovered(
        epoch=Epoch(0),
        sets={Epoch(0): AUTHORITIES, Epoch(1): AUTHORITIES},
        base_digest=BASE,
        base_height=Height(0),
        tip_digest=BASE,
        tip_height=Height(0),
        tip_time_ms=Millis(0),
        tip_certificate=None,
        guard=(Epoch(0), Guard().view),
    )
    core = Consensus(Setting(GENESIS_HASH, PARAMETERS, KEYS[identity], is_keyed_hash), found, START_MS)
    if is_twin:
        core.situation.voice = Shameless(core.situation.voice)  # it falls silent for nobody
    return Actor(name, core)


class Turn(NamedTuple):
    """What came of a turn. Instances, events and requests are numbers, to be looked up in the troupe."""

    actor: int
    view: int
    height: int
    final_ms: int
    """Of its newest final block: the height, and the time at which it was built; 0 before any."""
    wake_ms: int
    lapsed_ms: int
    """Changes when it gives a view up, and when it says so again; 0 before."""
    sends: tuple[tuple[int, int | None], ...]
    """Events for one identity, or for all others."""
    asks: tuple[tuple[str, int, Request], ...]


def carried_out(actor: Actor, now: Millis, events: Iterable[Event]) -> list[Output]:
    """Let an instance take these events, and do at once whatever it asks of its own node."""
    waiting = deque(events)
    outputs = []
    while waiting:
        output = actor.core.step(waiting.popleft(), now)
        outputs.append(output)
        for sign in output.sign:
            waiting.append(_signed(actor, sign))
        for work in output.work:
            match work:
                case Execute(header, _):
                    waiting.append(Executed(header.digest, Judgement.VALID))
                case Build():
                    waiting.append(_built(actor, work))
                case Enter(epoch, view, _, _):
                    waiting.append(Pending(epoch, view))
        actor.chain += [final.block for final in output.final]
    return outputs


def _signed(actor: Actor, sign: Sign) -> Event:
    try:
        actor.guard = check_guard(actor.guard, sign.ballot)
    except GuardRefused as refused:
        return SignatureRefused(sign.ballot, refused.reason.value)
    actor.said.append(sign.ballot)
    digest = sign.ballot.sign_digest(GENESIS_HASH, AUTHORITIES.hash)
    return Signed(Vote(sign.ballot, sign.signer, keyed_hash(KEYS[sign.signer], digest)))


def _built(actor: Actor, b: Build) -> Built:
    """A block of one transaction that no other instance puts into any: twins never build the same."""
    ids = (Hash(hashlib.sha256(f"{actor.name} {b.view}".encode()).digest()),)
    header = Header(
        version=1,
        genesis_hash=GENESIS_HASH,
        epoch=b.epoch,
        view=b.view,
        height=b.height,
        parent_digest=b.parent_digest,
        parent_view=b.parent_view,
        time_ms=b.time_ms,
        tx_root=tx_root(ids),
        state_root=ZERO_HASH,
        receipts_root=ZERO_HASH,
        next_set_hash=ZERO_HASH,
        evidence_root=evidence_root(b.evidence),
        proposer=b.proposer,
    )
    return Built(b.view, header, ids, b.evidence)


class Troupe:
    """All instances that ever were, by number, and the turns that lead from one to the next."""

    def __init__(self, twin: int) -> None:
        self.identities = (*range(N), twin)
        self.names = (*(str(i) for i in range(N)), f"{twin}'")
        self.turns_played = 0
        self._count = itertools.count()
        self._actors: dict[int, Actor] = {}
        self._events: dict[int, Event] = {}
        self._numbers: dict[Event, int] = {}
        self._turns: dict[tuple[int, int, tuple[int, ...]], Turn] = {}
        self.tick = self.number(Tick())
        self.first = tuple(
            self._enrol(born(name, identity, is_twin=identity == twin))
            for name, identity in zip(self.names, self.identities, strict=True)
        )

    def actor(self, number: int) -> Actor:
        """An instance, to be looked at."""
        return self._actors[number]

    def event(self, number: int) -> Event:
        """An event, to be looked at."""
        return self._events[number]

    def number(self, event: Event) -> int:
        """The number of an event: the same for equal ones."""
        number = self._numbers.get(event)
        if number is None:
            number = self._numbers[event] = next(self._count)
            self._events[number] = event
        return number

    def _enrol(self, actor: Actor) -> int:
        number = next(self._count)
        self._actors[number] = actor
        return number

    def turn(self, actor: int, now: int, events: tuple[int, ...]) -> Turn:
        """What this instance does at this moment with these events."""
        key = (actor, now, events)
        turn = self._turns.get(key)
        if turn is None:
            copy = copied(self._actors[actor])
            turn = self._turns[key] = self._played(self._enrol(copy), copy, now, events)
        return turn

    def _played(self, number: int, actor: Actor, now: int, events: tuple[int, ...]) -> Turn:
        self.turns_played += 1
        outputs = carried_out(actor, Millis(now), [self._events[event] for event in events])
        s = actor.core.situation
        assert s.voice.index is not None and outputs[-1].wake_at is not None
        return Turn(
            actor=number,
            view=s.view,
            height=len(actor.chain),
            final_ms=actor.chain[-1].header.time_ms if actor.chain else 0,
            wake_ms=outputs[-1].wake_at,
            lapsed_ms=s.pacing.resend_ms or 0,
            sends=tuple(
                (self.number(Received(s.voice.index, send.frame)), send.peer)
                for output in outputs
                for send in output.send
            ),
            asks=tuple(
                (work.key, work.peer, work.request)
                for output in outputs
                for work in output.work
                if isinstance(work, Ask)
            ),
        )

    def answer(self, actor: int, peer: int, key: str, request: Request) -> int:
        """The event that this instance's answer is, to whoever asked `peer`."""
        return self.number(Answered(key, peer, _replies(self._actors[actor], request)))

    def failure(self, peer: int, key: str) -> int:
        """The event that nobody answered."""
        return self.number(AskFailed(key, peer))


class Soloists(Troupe):
    """Five instances that go on by themselves, where nobody will come the same way: nothing is remembered."""

    def __init__(self, troupe: Troupe, cast: Iterable[int]) -> None:
        self.identities, self.names = troupe.identities, troupe.names
        self.tick, self.turns_played = troupe.tick, 0
        self._count = troupe._count
        self._actors = {number: copied(troupe.actor(number)) for number in cast}
        self._events = troupe._events

    def number(self, event: Event) -> int:
        number = next(self._count)
        self._events[number] = event
        return number

    def turn(self, actor: int, now: int, events: tuple[int, ...]) -> Turn:
        return self._played(actor, self._actors[actor], now, events)


def _replies(actor: Actor, request: Request) -> tuple:
    s = actor.core.situation
    match request:
        case BlocksRequest(height, count):
            return tuple(actor.chain[height - 1 : height - 1 + count])
        case CertificatesRequest(_, low, high):
            return (Certificates(tuple(catchup.certificates_between(s, low, high))),)
        case ProposalsRequest(_, digests):
            found = [catchup.unfinal_proposal(s, digest) for digest in digests]
            return tuple(proposal for proposal in found if proposal is not None)
    raise AssertionError(f"nobody asks for {request}: bodies are executed by rote")
