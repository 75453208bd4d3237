"""What a disk may hold after the power went: all that was synced, and any part of what came later.

Of a write that no sync followed, each sector of 512 bytes is there or not, by itself; so is each name
that was made, moved or removed since its directory was synced. A file may be longer than what of it was
written, with zeros there. What a failed sync left behind is lost or not, and no later sync of the file
brings it back: Linux takes such pages for clean. Nothing is assumed of the order between any two of these.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from random import Random

from tests.powerloss.record import EMPTIED, MADE, Kind, Note

SECTOR_BYTES = 512
SHARED_MEMORY_BYTES = 32_768


@dataclass
class Change:
    """A write, or a truncation (`data` is None), that the file was not synced after."""

    order: int
    offset: int
    data: bytes | None
    is_lost: bool = False
    """A sync after it failed."""
    is_synced: bool = False
    """A later sync went well: only while a lost change stands before it is it not part of `durable`."""


@dataclass
class File:
    durable: bytearray = field(default_factory=bytearray)
    changes: list[Change] = field(default_factory=list)

    def sync(self) -> None:
        kept: list[Change] = []
        for change in self.changes:
            if kept or change.is_lost:
                change.is_synced = not change.is_lost
                kept.append(change)
            else:
                _apply(self.durable, change, lambda change, sector: True)
        self.changes = kept

    def fail_to_sync(self) -> None:
        for change in self.changes:
            change.is_lost = change.is_lost or not change.is_synced


@dataclass
class Directory:
    now: dict[str, "Node"] = field(default_factory=dict)
    durable: dict[str, "Node"] = field(default_factory=dict)
    changes: list[tuple[int, dict[str, "Node | None"]]] = field(default_factory=list)

    def change(self, order: int, names: "dict[str, Node | None]") -> None:
        _rename(self.now, names)
        self.changes.append((order, names))

    def sync(self) -> None:
        for _, names in self.changes:
            _rename(self.durable, names)
        self.changes.clear()


Node = File | Directory
Keeps = Callable[[Change, int], bool]
"""Whether a sector of a change, by its number, reached the disk."""


class Disk:
    """The files below one directory, as a record goes on. The directory itself is there from the start."""

    def __init__(self, root: str) -> None:
        self._root = PurePosixPath(root)
        self.top = Directory()
        self._open: dict[int, Node] = {}
        self._order = 0

    def take(self, note: Note) -> None:
        """The next operation."""
        self._order += 1
        match note.kind:
            case Kind.OPEN:
                self._take_open(note)
            case Kind.WRITE:
                self._file(note).changes.append(Change(self._order, note.number, note.data))
            case Kind.TRUNCATE:
                self._file(note).changes.append(Change(self._order, note.number, None))
            case Kind.SYNC:
                self._open[note.handle].sync()
            case Kind.FAILED_SYNC:
                self._file(note).fail_to_sync()
            case Kind.UNLINK:
                parent, name = self._place(note.data)
                parent.change(self._order, {name: None})
            case Kind.RENAME:
                old, new = (self._place(path) for path in note.data.split(b"\0"))
                assert old[0] is new[0], "moved from one directory to another"
                old[0].change(self._order, {old[1]: None, new[1]: old[0].now[old[1]]})
            case Kind.MKDIR:
                parent, name = self._place(note.data)
                parent.change(self._order, {name: Directory()})
            case Kind.MARK:
                pass

    def _take_open(self, note: Note) -> None:
        if PurePosixPath(note.data.decode()) == self._root:
            self._open[note.handle] = self.top
            return
        parent, name = self._place(note.data)
        if note.number & MADE:
            parent.change(self._order, {name: File()})
        node = self._open[note.handle] = parent.now[name]
        if note.number & EMPTIED and isinstance(node, File):
            node.changes.append(Change(self._order, 0, None))

    def _file(self, note: Note) -> File:
        node = self._open[note.handle]
        assert isinstance(node, File)
        return node

    def _place(self, path: bytes) -> tuple[Directory, str]:
        *parents, name = PurePosixPath(path.decode()).relative_to(self._root).parts
        directory = self.top
        for parent in parents:
            below = directory.now[parent]
            assert isinstance(below, Directory)
            directory = below
        return directory, name

    def write_image(self, target: Path, random: Random) -> str:
        """Write one possible state of the disk into an empty directory. Returns how it was chosen."""
        kind, keeps = _choose(random, self._order)
        _write(self.top, target, keeps, random)
        return kind


def _choose(random: Random, newest: int) -> tuple[str, Keeps]:
    """One of the ways of losing what was not synced."""
    kind = random.choice(("nothing", "everything", "some", "some", "cut off", "by file"))
    match kind:
        case "nothing":
            return kind, lambda change, sector: False
        case "everything":
            return kind, lambda change, sector: True
        case "some":
            share = random.choice((0.05, 0.3, 0.5, 0.7, 0.95))
            return f"{share} of all sectors", lambda change, sector: random.random() < share
        case "cut off":  # in the order of writing, up to one that is torn
            last = newest - int(random.expovariate(0.2))
            torn = random.random()
            return (
                kind,
                lambda change, sector: (
                    change.order < last or (change.order == last and random.random() < torn)
                ),
            )
        case _:  # every change whole or not at all
            seed = random.random()
            return kind, lambda change, sector: Random(f"{seed} {change.order}").random() < 0.5


def _apply(content: bytearray, change: Change, keeps: Keeps) -> None:
    if change.data is None:
        if keeps(change, 0):
            if change.offset < len(content):
                del content[change.offset :]
            else:
                content.extend(bytes(change.offset - len(content)))
        return
    start, end = change.offset, change.offset + len(change.data)
    for sector in range(start // SECTOR_BYTES, (end - 1) // SECTOR_BYTES + 1):
        if keeps(change, sector):
            low, high = max(start, sector * SECTOR_BYTES), min(end, (sector + 1) * SECTOR_BYTES)
            if low > len(content):
                content.extend(bytes(low - len(content)))
            content[low:high] = change.data[low - start : high - start]


def _rename(names: dict[str, Node], change: dict[str, Node | None]) -> None:
    for name, node in change.items():
        if node is None:
            names.pop(name, None)
        else:
            names[name] = node


def _write(directory: Directory, target: Path, keeps: Keeps, random: Random) -> None:
    names = dict(directory.durable)
    for order, change in directory.changes:
        if keeps(Change(order, 0, None), 0):
            _rename(names, change)
    for name, node in names.items():
        if isinstance(node, Directory):
            (target / name).mkdir()
            _write(node, target / name, keeps, random)
            continue
        content = bytearray(node.durable)
        for change in node.changes:
            _apply(content, change, (lambda change, sector: True) if change.is_synced else keeps)
        if node.changes and random.random() < 0.1:  # its length came to the disk before its content
            longest = max(change.offset + len(change.data or b"") for change in node.changes)
            content.extend(bytes(max(0, longest - len(content))))
        (target / name).write_bytes(content)
        if name.endswith(".db") and random.random() < 0.3:
            (target / f"{name}-shm").write_bytes(random.randbytes(SHARED_MEMORY_BYTES))
