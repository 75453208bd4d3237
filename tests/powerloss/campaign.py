"""From a recorded run to many images of its disk, each started from and judged."""

import tempfile
from collections import Counter
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path
from random import Random

import trio
from p2pledger.errors import Fatal
from p2pledger.signer.guardfile import GuardMissing
from structlog.testing import capture_logs
from tests.powerloss.files import OPENED, Party
from tests.powerloss.images import Disk
from tests.powerloss.judge import Shown, check_kept, open_image
from tests.powerloss.record import Kind, Note, notes_of, shown_by

MEMORY = Path("/dev/shm")
"""Images are made here where it exists: nothing of them need survive, and syncing costs nothing."""

FIRST_NOTES = 40
"""Of a start: until it has synced something of its own, what it shows rests on what it found."""

OPENING_NOTES = 30
"""Up to what a start shows first: it moves into the files what the process before it left in their logs."""

GOES_ON_EVERY = 16

GoesOn = Callable[[Path, Shown, Random], Awaitable[None]]


class Broken(AssertionError):
    """An image breaks what was promised; the message says which image, and what."""


@dataclass
class Images:
    """What a campaign has tried."""

    count: int = 0
    gone_on: int = 0
    kinds: Counter[str] = field(default_factory=Counter)


def try_images(
    log: Path, root: Path, party: Party, goes_on: GoesOn | None = None, *, seed: int, cuts: int
) -> Images:
    """Cut the power so many times during a record and start from what may be left then.

    `goes_on` has the ledger go on from every GOES_ON_EVERYth image.
    Raises: Broken.
    """
    random, tried = Random(seed), Images()
    notes = list(notes_of(log))
    chosen = _choose_cuts(notes, random, cuts)
    disk, shown = Disk(str(root)), Shown()
    for at, note in enumerate(notes):
        disk.take(note)
        if note.kind is Kind.MARK:
            shown.add(shown_by(note))
        for _ in range(chosen[at]):
            tried.count += 1
            is_going_on = goes_on is not None and tried.count % GOES_ON_EVERY == 0
            tried.gone_on += is_going_on
            with tempfile.TemporaryDirectory(dir=MEMORY if MEMORY.exists() else None) as image:
                kind = disk.write_image(Path(image), random)
                tried.kinds[kind] += 1
                try:
                    with capture_logs():
                        _judge(Path(image), party, shown)
                        if goes_on is not None and is_going_on:
                            trio.run(goes_on, Path(image), shown, random)
                except (AssertionError, Fatal, GuardMissing, trio.TooSlowError, ExceptionGroup) as error:
                    raise Broken(
                        f"seed {seed}, {kind}, power lost after note {at} of {log}: {error!r}"
                    ) from error
    return tried


def _choose_cuts(notes: list[Note], random: Random, cuts: int) -> Counter[int]:
    """After which notes to cut, and how often.

    A quarter just after something was shown, a quarter just after what a start showed first (it has synced
    nothing of its own by then), a quarter while files are opened, before anything is shown, and a quarter
    anywhere.
    """
    marks = [at for at, note in enumerate(notes) if note.kind is Kind.MARK]
    starts = [at for at in marks if shown_by(notes[at]) == OPENED]
    first = [at for at in marks if any(start < at <= start + FIRST_NOTES for start in starts)]
    opening = [at for start in starts for at in range(max(start - OPENING_NOTES, 0), start)]
    chosen = [at for where in (marks, first, opening) for at in random.choices(where, k=cuts // 4)]
    return Counter(chosen + random.choices(range(len(notes)), k=cuts - len(chosen)))


def _judge(image: Path, party: Party, shown: Shown) -> None:
    files = open_image(image, party, shown)
    try:
        check_kept(files, shown)
    finally:
        files.close()
