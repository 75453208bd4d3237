"""The Twins campaign; `replay TWIN TEMPO SCHEDULE` writes down one schedule of it, turn by turn."""

import argparse
import sys
import time

from tests.twins.actors import N, Troupe
from tests.twins.campaign import (
    CASTS,
    DIGITS,
    SIGHTS,
    Cast,
    Outcome,
    Task,
    all_schedules,
    judge,
    outcome_of,
    sampled_schedules,
)
from tests.twins.judge import Violation
from tests.twins.stage import PARTITIONS, TEMPOS, after, healed, opened
from tests.twins.trace import of_partition, witness_of

SHOWN_MAX = 10


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.twins", description=__doc__)
    parser.add_argument("--views", default="4,6,8", help="how many views schedules have (4,6,8)")
    parser.add_argument("--all-up-to", type=int, default=4, help="play all schedules up to so many views (4)")
    parser.add_argument("--samples", type=int, default=200_000, help="schedules of other lengths (200000)")
    parser.add_argument("--seed", type=int, default=1, help="of the samples (1)")
    parser.add_argument("--twinned", default="0,1,2,3", help="the authorities to twin in turn (0,1,2,3)")
    parser.add_argument("--tempos", default=",".join(TEMPOS), help="when rounds end (patient,hasty)")
    commands = parser.add_subparsers(dest="command")
    one = commands.add_parser("replay", help="play one schedule again and write down all that happens")
    one.add_argument("twin", type=int, choices=range(N))
    one.add_argument("tempo", choices=TEMPOS)
    one.add_argument("schedule", help=f"a digit of {DIGITS} for each view")
    options = parser.parse_args()
    if options.command == "replay":
        return replay(Cast(options.twin, options.tempo), options.schedule)
    tempos, twinned = options.tempos.split(","), [int(twin) for twin in options.twinned.split(",")]
    casts = [cast for cast in CASTS if cast.twin in twinned and cast.tempo in tempos]
    lengths = [int(views) for views in options.views.split(",")]
    return campaign(casts, lengths, options.all_up_to, options.samples, options.seed)


def campaign(casts: list[Cast], lengths: list[int], all_up_to: int, samples: int, seed: int) -> int:
    """Play schedules of these lengths with each of these casts. 1 if a promise was broken."""
    total = Outcome()
    began = time.monotonic()
    for views in lengths:
        for cast in casts:
            if views <= all_up_to:
                tasks, which = all_schedules(cast, views), "all"
            else:
                tasks = sampled_schedules(cast, views, -(-samples // len(casts)), seed)
                which = f"a sample of {PARTITIONS**views:,} (seed {seed})"
            total.add(part(tasks, views, cast, which))
    print()
    for sight in SIGHTS:
        print(f"{total.sights[sight]:>9,} schedules with {sight}")
    for failure in total.failures[:SHOWN_MAX]:
        print(f"VIOLATION: python -m tests.twins {failure}")
    missing = [sight for sight in SIGHTS if not total.sights[sight]]
    if missing:
        print(f"NEVER SEEN: {', '.join(missing)}: too little was tried")
    seconds = time.monotonic() - began
    print(
        f"twins: {total.schedules:,} schedules in {seconds:.0f} s, {total.schedules / seconds:.0f} a second; "
        f"live again within {total.healed_ms_max} ms after healing; {len(total.failures)} violations"
    )
    return 1 if total.failures or missing else 0


def part(tasks: list[Task], views: int, cast: Cast, which: str) -> Outcome:
    """One line of the campaign."""
    began = time.monotonic()
    outcome = outcome_of(tasks)
    seconds = time.monotonic() - began
    what = f"{views} views, authority {cast.twin} twinned, {cast.tempo}"
    how_many = f"{outcome.schedules:,} schedules, {which}, {outcome.schedules / seconds:.0f} a second"
    print(f"{what}: {how_many}, {len(outcome.failures)} violations", flush=True)
    return outcome


def replay(cast: Cast, schedule: str) -> int:
    """Play one schedule and write down every turn. 1 if it breaks a promise."""
    troupe = Troupe(cast.twin)
    witness = witness_of(troupe, print)
    stage = opened(troupe)
    try:
        for number, digit in enumerate(schedule, 1):
            partition = DIGITS.index(digit)
            print(f"--- round {number}: {of_partition(troupe.names, partition)}")
            stage = after(troupe, stage, partition, cast.tempo, witness)
            judge([troupe.actor(actor) for actor in stage.cast])
        print("--- healed")
        actors, healed_ms = healed(troupe, stage, witness)
        judge(actors)
    except Violation as violation:
        print(f"VIOLATION: {violation}")
        return 1
    print(f"live again after {healed_ms} ms, no violation")
    return 0


if __name__ == "__main__":
    sys.exit(main())
