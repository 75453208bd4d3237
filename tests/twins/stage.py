"""Rounds on which five instances act: who hears whom in each, and what a round is.

The Twins paper (Bano et al., 2020) gives each view a partition: a message of a view passes only between
instances on the same side in it. Views of this protocol advance only with a quorum's certificate: by that
rule alone, a view in which neither side has a quorum would last for ever, and swallow the rest of its
schedule (of all schedules of four views, 56 in 100 have one). Therefore a *round* has the partition:

- A side with a quorum passes one view in a round. An instance that enters a view above all that its side had
  entered when the round began is done: it says nothing more in this round, and hears what comes for it in the
  next. What it says in the step that took it there, its F vote above all, is heard by its side of the next
  round: so a partition can part F votes from the N votes before them.
- A side without a quorum cannot pass a view. In the tempo `patient` the round goes on until each instance on
  it has given its view up and said so (X); in `hasty` it is over as soon as the other side is done, mostly
  before any deadline has passed.
- Where neither side has a quorum, both give their views up, and try the same ones again in the next round.

Every message takes HOP_MS, and what was on its way within a side arrives, if late. Rounds begin at fixed
times; clocks that stood still meanwhile are set, and the cores move their timers (`ClockStepped`), so that a
deadline is as far away after a round as it was before. Nothing is gossiped: final blocks and evidence travel
only as far as cores send them and ask for them. Twins do not hear each other, having one address.
"""

from collections.abc import Callable
from typing import NamedTuple

from p2pledger.consensus.events import ClockStepped
from tests.twins.actors import START_MS, Actor, Soloists, Troupe, Turn
from tests.twins.judge import Violation

HOP_MS = 10
ROUND_MS = 10_000
HEALED_MS_MAX = 30_000
QUORUM = 3
INSTANCES = 5
PARTITIONS = 1 << (INSTANCES - 1)
HIGHEST_VIEW = 1 << 62

Sides = tuple[int, ...]
Witness = Callable[[int, int, tuple[int, ...], Turn], None]
"""Is shown every turn: when, whose, with which events, and what came of it."""


def sides_of(partition: int) -> Sides:
    """The side of each instance: bit i - 1 of the partition parts instance i from instance 0."""
    return (0, *(partition >> i & 1 for i in range(INSTANCES - 1)))


class Stage(NamedTuple):
    """Everything between two rounds that the next ones depend on."""

    rounds: int
    cast: tuple[int, ...]
    """The five instances, by their numbers in the troupe."""
    lags_ms: tuple[int, ...]
    """How far each clock is behind the beginning of the next round."""
    letters: tuple[tuple[int, int], ...]
    """Receivers and events of the last round that arrive in the next one."""
    speech: tuple[tuple[int, Turn], ...]
    """What was said once the last round's view had been passed: heard by the next round's side."""

    @property
    def start_ms(self) -> int:
        """When the next round begins."""
        return START_MS + ROUND_MS * self.rounds


class Round:
    """One round in progress."""

    def __init__(self, troupe: Troupe, stage: Stage, sides: Sides, witness: Witness | None = None) -> None:
        self.troupe, self.stage, self.sides, self.witness = troupe, stage, sides, witness
        self.now = stage.start_ms
        self.cast = list(stage.cast)
        self.turns: list[Turn] = []
        self.done_ms: list[int | None] = [None] * INSTANCES
        self.views_max = [HIGHEST_VIEW] * INSTANCES
        self.post: dict[int, list[list[int]]] = {}
        self.speech: list[tuple[int, Turn]] = []
        self.has_quorum = [
            len({troupe.identities[j] for j in self._side(i)}) >= QUORUM for i in range(INSTANCES)
        ]
        self._begin()

    def _begin(self) -> None:
        arrivals: list[list[int]] = [[] for _ in range(INSTANCES)]
        for i, lag_ms in enumerate(self.stage.lags_ms):
            arrivals[i].append(self.troupe.number(ClockStepped(lag_ms)) if lag_ms else self.troupe.tick)
        for receiver, event in self.stage.letters:
            arrivals[receiver].append(event)
        for i in range(INSTANCES):
            turn = self.troupe.turn(self.cast[i], self.now, tuple(arrivals[i]))
            self.turns.append(turn)
            self.cast[i] = turn.actor
            if self.witness is not None:
                self.witness(self.now, i, tuple(arrivals[i]), turn)
        self.lapsed_ms = [turn.lapsed_ms for turn in self.turns]
        for i, turn in self.stage.speech:
            self._say(i, turn)
        for i, turn in enumerate(self.turns):
            self._say(i, turn)

    def limit_views(self) -> None:
        """Have each side pass one view at most: the next one above all that it has entered."""
        for i in range(INSTANCES):
            self.views_max[i] = max(self.turns[j].view for j in self._side(i))

    def _side(self, i: int) -> list[int]:
        return [j for j in range(INSTANCES) if self.sides[j] == self.sides[i]]

    def _near(self, i: int, identity: int | None) -> list[int]:
        """Who on this side hears what instance i says to this identity, or to all others."""
        identities = self.troupe.identities
        wanted = {identity} if identity is not None else {*identities} - {identities[i]}
        return [j for j in self._side(i) if identities[j] in wanted]

    def _say(self, i: int, turn: Turn) -> None:
        if turn.sends:
            arrivals = self._arrivals(HOP_MS)
            for event, peer in turn.sends:
                for j in self._near(i, peer):
                    arrivals[j].append(event)
        for key, peer, request in turn.asks:
            asked = self._near(i, peer)
            if asked:
                event = self.troupe.answer(self.cast[asked[0]], peer, key, request)
            else:
                event = self.troupe.failure(peer, key)
            self._arrivals(2 * HOP_MS)[i].append(event)

    def _arrivals(self, after_ms: int) -> list[list[int]]:
        at_ms = self.now + after_ms
        if at_ms not in self.post:
            self.post[at_ms] = [[] for _ in range(INSTANCES)]
        return self.post[at_ms]

    def run(self, is_over: Callable[["Round"], bool], end_ms: int) -> None:
        """Let everyone act until it is over. Raises: Violation at `end_ms`."""
        troupe, cast, turns, done_ms, post = self.troupe, self.cast, self.turns, self.done_ms, self.post
        letters: list[list[int]] = [[] for _ in range(INSTANCES)]
        while not is_over(self):
            wakes = [turns[i].wake_ms for i in range(INSTANCES) if done_ms[i] is None]
            self.now = now = max(self.now, min([*wakes, *post]))
            if now > end_ms:
                raise Violation(f"no progress by {end_ms - self.stage.start_ms} ms of a round")
            arrivals = post.pop(now, None)
            acted: list[tuple[int, Turn]] = []
            for i in range(INSTANCES):
                events = tuple(arrivals[i]) if arrivals is not None else ()
                if done_ms[i] is not None:
                    letters[i] += events
                elif events or turns[i].wake_ms <= now:
                    turn = troupe.turn(cast[i], now, events or (troupe.tick,))
                    if self.witness is not None:
                        self.witness(now, i, events, turn)
                    turns[i], cast[i] = turn, turn.actor
                    acted.append((i, turn))
            for i, turn in acted:
                if turn.view > self.views_max[i]:
                    done_ms[i] = now
                    self.speech.append((i, turn))
                else:
                    self._say(i, turn)
        self.letters = letters

    def _is_passed(self, i: int) -> bool:
        """Whether an instance on this side is done, and the others on it have nothing left to hear."""
        side = self._side(i)
        slow = [j for j in side if self.done_ms[j] is None]
        return len(slow) < len(side) and not any(arrivals[j] for arrivals in self.post.values() for j in slow)

    def _is_given_up(self, i: int) -> bool:
        """Whether instance i has said in this round that it gives its view up, and all has arrived."""
        said = self.turns[i].lapsed_ms not in (0, self.lapsed_ms[i])
        return said and not any(arrivals[i] for arrivals in self.post.values())

    def is_over_patiently(self) -> bool:
        """Each instance is done, or has given up; a side with a quorum has passed its view."""
        return all(
            self.done_ms[i] is not None
            or (self._is_given_up(i) and (not self.has_quorum[i] or self._is_passed(i)))
            for i in range(INSTANCES)
        )

    def is_over_hastily(self) -> bool:
        """The side with a quorum has passed its view; where there is none, as `is_over_patiently`."""
        if True not in self.has_quorum:
            return self.is_over_patiently()
        return self._is_passed(self.has_quorum.index(True))

    def close(self) -> Stage:
        """What the next round begins with."""
        rounds = self.stage.rounds + 1
        next_ms = START_MS + ROUND_MS * rounds
        for at_ms in sorted(self.post):
            for i, events in enumerate(self.post[at_ms]):
                self.letters[i] += events
        return Stage(
            rounds=rounds,
            cast=tuple(self.cast),
            lags_ms=tuple(next_ms - (done or self.now) for done in self.done_ms),
            letters=tuple((i, event) for i, events in enumerate(self.letters) for event in events),
            speech=tuple(self.speech),
        )


TEMPOS: dict[str, Callable[[Round], bool]] = {
    "patient": Round.is_over_patiently,
    "hasty": Round.is_over_hastily,
}


def opened(troupe: Troupe) -> Stage:
    """All five connected, until each has heard enough to vote (R8): what every schedule begins with."""
    stage = Stage(0, troupe.first, (0,) * INSTANCES, (), ())
    warming = Round(troupe, stage, sides_of(0))

    def is_awake(act: Round) -> bool:
        silent = [troupe.actor(number).core.situation.voice.is_silent for number in act.cast]
        return not act.post and not any(silent)

    warming.run(is_awake, stage.start_ms + ROUND_MS)
    return warming.close()


def after(troupe: Troupe, stage: Stage, partition: int, tempo: str, witness: Witness | None = None) -> Stage:
    """The stage after one more round. Raises: Violation when a side with a quorum cannot pass its view."""
    act = Round(troupe, stage, sides_of(partition), witness)
    act.limit_views()
    act.run(TEMPOS[tempo], stage.start_ms + ROUND_MS)
    return act.close()


def healed(troupe: Troupe, stage: Stage, witness: Witness | None = None) -> tuple[list[Actor], int]:
    """All five connected until a block built since then is final at each honest one: who they are, how long
    it took.

    Raises: Violation when that never comes.
    """
    act = Round(Soloists(troupe, stage.cast), stage, sides_of(0), witness)
    twin = troupe.identities[-1]
    honest = [i for i, identity in enumerate(troupe.identities) if identity != twin]
    since_ms = stage.start_ms
    act.run(lambda r: all(r.turns[i].final_ms > since_ms for i in honest), since_ms + HEALED_MS_MAX)
    return [act.troupe.actor(number) for number in act.cast], act.now - since_ms
