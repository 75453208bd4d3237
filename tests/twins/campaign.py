"""Which schedules are played, on as many processes as there are cores, and what they came to.

A schedule is a word of hexadecimal digits, one partition for each view. A task is all schedules of a given
length that begin with the same digits: they share the rounds of that beginning, and most turns after it.

All schedules of four views are played, one by one. Merging equal states would spare next to nothing: with
authority 1 twinned, the 4,096 schedules of three views end in 4,096 (patient) and 4,087 (hasty) distinct
states, because a core remembers whom it heard. Six and eight views have 16.8 million and 4.3 thousand million
schedules: of these a seeded sample is played, beginnings drawn at random without repetition, each with all 16
last partitions.
"""

import gc
import itertools
import multiprocessing
import os
import random
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field

from p2pledger.chain.vote import VoteKind
from p2pledger.errors import Fatal
from tests.twins.actors import Actor, N, Troupe
from tests.twins.judge import Violation, check_agreement, check_chain, check_votes
from tests.twins.stage import PARTITIONS, TEMPOS, Stage, after, healed, opened

DIGITS = "0123456789abcdef"


@dataclass(frozen=True)
class Cast:
    """Which identity runs twice, and when rounds end."""

    twin: int
    tempo: str


CASTS = tuple(Cast(twin, tempo) for tempo in TEMPOS for twin in range(N))


@dataclass(frozen=True)
class Task:
    """All schedules of this many views that begin with `prefix`."""

    cast: Cast
    prefix: str
    views: int


@dataclass(frozen=True)
class Failure:
    """A broken promise, and the schedule that shows it."""

    cast: Cast
    schedule: str
    reason: str

    def __str__(self) -> str:
        return f"replay {self.cast.twin} {self.cast.tempo} {self.schedule}: {self.reason}"


@dataclass
class Outcome:
    """What the schedules of one or many tasks came to."""

    schedules: int = 0
    healed_ms_max: int = 0
    sights: Counter[str] = field(default_factory=Counter)
    """In how many schedules it came to what a campaign is for, before the network healed."""
    failures: list[Failure] = field(default_factory=list)

    def add(self, other: "Outcome") -> None:
        self.schedules += other.schedules
        self.healed_ms_max = max(self.healed_ms_max, other.healed_ms_max)
        self.sights += other.sights
        self.failures += other.failures


def sights_of(actors: Sequence[Actor]) -> set[str]:
    """What of interest happened to these instances."""
    seen = set()
    situations = [actor.core.situation for actor in actors]
    notarised = {view for s in situations for view in s.tally.notarised}
    if notarised & {view for s in situations for view in s.tally.skipped}:
        seen.add("a view with both an N and an X certificate")
    proposed = {(p.view, p.header.digest) for s in situations for p in s.tally.proposals.values()}
    if len(proposed) > len({view for view, _ in proposed}):
        seen.add("two proposals of one view")
    if any(s.evidence or s.offences for s in situations):
        seen.add("evidence of the twins")
    voted = {(ballot.kind, ballot.view) for actor in actors for ballot in actor.said}
    if any((VoteKind.SKIP, view) in voted for kind, view in voted if kind is VoteKind.FINALISE):
        seen.add("a view with X votes of some and F votes of others")
    heights = [len(actor.chain) for actor in actors]
    if max(heights):
        seen.add("final blocks in a partition")
    if max(heights) - min(heights) > 1:
        seen.add("an instance two blocks behind another")
    return seen


SIGHTS = (
    "a view with both an N and an X certificate",
    "a view with X votes of some and F votes of others",
    "two proposals of one view",
    "evidence of the twins",
    "final blocks in a partition",
    "an instance two blocks behind another",
)
"""All that `sights_of` looks for: a campaign in which one of them never came about tried too little."""


def judge(actors: Sequence[Actor]) -> None:
    """Raises: Violation."""
    names = [actor.name for actor in actors]
    for actor in actors:
        check_chain(actor.name, actor.chain)
        check_votes(actor.name, actor.said)
    check_agreement([[block.header.digest for block in actor.chain] for actor in actors], names)


class Exploration:
    """One task at work."""

    def __init__(self, task: Task) -> None:
        self.task = task
        self.outcome = Outcome()
        self.troupe = Troupe(task.cast.twin)

    def run(self) -> Outcome:
        """Play them all. A broken promise ends the schedules that share what led to it, and no others."""
        self._extend(opened(self.troupe), "")
        return self.outcome

    def _extend(self, stage: Stage, schedule: str) -> None:
        task = self.task
        for digit in task.prefix[len(schedule) : len(schedule) + 1] or DIGITS:
            longer = schedule + digit
            try:
                following = after(self.troupe, stage, DIGITS.index(digit), task.cast.tempo)
                actors = [self.troupe.actor(number) for number in following.cast]
                judge(actors)
                if len(longer) == task.views:
                    self._heal(following, actors)
            except (Violation, Fatal, AssertionError, LookupError) as error:
                reason = f"{type(error).__name__}: {error}"
                self.outcome.failures.append(Failure(task.cast, longer, reason))
                continue
            if len(longer) < task.views:
                self._extend(following, longer)

    def _heal(self, stage: Stage, actors: Sequence[Actor]) -> None:
        after_all, healed_ms = healed(self.troupe, stage)
        judge(after_all)
        self.outcome.schedules += 1
        self.outcome.sights.update(sights_of(actors))
        self.outcome.healed_ms_max = max(self.outcome.healed_ms_max, healed_ms)


def explore(task: Task) -> Outcome:
    """What the schedules of a task come to. Pure, but for the collector: nothing here is cyclic."""
    return Exploration(task).run()


def all_schedules(cast: Cast, views: int) -> list[Task]:
    """Tasks that together are every schedule of this many views, once."""
    fixed = max(0, views - 2)
    return [Task(cast, "".join(digits), views) for digits in itertools.product(DIGITS, repeat=fixed)]


def sampled_schedules(cast: Cast, views: int, schedules: int, seed: int) -> list[Task]:
    """Tasks of at least so many distinct schedules of this many views, drawn at random."""
    source = random.Random(f"{seed} {cast} {views}")
    beginnings = source.sample(range(PARTITIONS ** (views - 1)), -(-schedules // PARTITIONS))
    return [Task(cast, f"{beginning:0{views - 1}x}", views) for beginning in beginnings]


def play(tasks: Iterable[Task], processes: int | None = None) -> Iterator[Outcome]:
    """The outcomes of tasks, in whatever order they are done."""
    with multiprocessing.Pool(processes or os.cpu_count(), gc.disable) as pool:
        yield from pool.imap_unordered(explore, tasks)


def outcome_of(tasks: Iterable[Task]) -> Outcome:
    """What tasks come to together, on all cores."""
    total = Outcome()
    for outcome in play(tasks):
        total.add(outcome)
    return total
