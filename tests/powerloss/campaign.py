"""From a recorded run to many images of its disk, each started from and judged."""

import tempfile
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from random import Random

import trio
from p2pledger.errors import Fatal
from p2pledger.signer.guardfile import GuardMissing
from structlog.testing import capture_logs
from tests.powerloss.images import Disk
from tests.powerloss.judge import Shown, check_goes_on, check_kept, open_image
from tests.powerloss.record import Kind, Note, notes_of, shown_by
from tests.powerloss.workload import CHAIN_OPEN

MEMORY = Path("/dev/shm")
"""Images are made here where it exists: nothing of them need survive, and syncing costs nothing."""

FIRST_NOTES = 40
"""Of a start: until it has synced something of its own, what it shows rests on what it found."""


class Broken(AssertionError):
    """An image breaks what was promised; the message says which image, and what."""


@dataclass
class Images:
    """What a campaign has tried."""

    count: int = 0
    gone_on: int = 0
    kinds: Counter[str] = field(default_factory=Counter)


def try_images(log: Path, root: Path, seed: int, cuts: int, *, goes_on_every: int = 16) -> Images:
    """Cut the power so many times during a record and start from what may be left then. Raises: Broken."""
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
            goes_on = tried.count % goes_on_every == 0
            tried.gone_on += goes_on
            with tempfile.TemporaryDirectory(dir=MEMORY if MEMORY.exists() else None) as image:
                kind = disk.write_image(Path(image), random)
                tried.kinds[kind] += 1
                try:
                    with capture_logs():
                        _judge(Path(image), shown, random if goes_on else None)
                except (AssertionError, Fatal, GuardMissing, trio.TooSlowError) as error:
                    raise Broken(
                        f"seed {seed}, {kind}, power lost after note {at} of {log}: {error!r}"
                    ) from error
    return tried


def _choose_cuts(notes: list[Note], random: Random, cuts: int) -> Counter[int]:
    """After which notes to cut, and how often.

    A third just after something was shown, a third just after what a start showed first (it has synced
    nothing of its own by then), and a third anywhere.
    """
    marks = [at for at, note in enumerate(notes) if note.kind is Kind.MARK]
    starts = [at for at in marks if shown_by(notes[at]) == CHAIN_OPEN]
    first = [at for at in marks if any(start < at <= start + FIRST_NOTES for start in starts)]
    chosen = random.choices(marks, k=cuts // 3) + random.choices(first, k=cuts // 3)
    return Counter(chosen + random.choices(range(len(notes)), k=cuts - len(chosen)))


def _judge(image: Path, shown: Shown, goes_on: Random | None) -> None:
    opened = open_image(image, shown)
    try:
        check_kept(opened, shown)
    finally:
        opened.close()
    if goes_on is not None:
        trio.run(check_goes_on, image, shown, goes_on)
