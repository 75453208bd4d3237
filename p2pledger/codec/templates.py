"""Encodings that are alike, read together: one that was read is the template of others.

Take two encodings that differ only in the contents of byte strings and in numbers whose heads are as long.
Then all heads stand at the same places and say the same, so whatever holds of forms, texts and lengths holds
of both. What is left to look at are numbers, which may be out of bounds or ought to have a shorter head, and
what a class checks by itself.

So one `struct` takes many encodings apart: what is open goes into columns, what is not has to be the same in
all. That is half the price of reading each.
"""

from collections import OrderedDict
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import repeat
from struct import Struct
from typing import Any, Protocol

from p2pledger.codec.source import Refused

ALIKE_MIN = 16
"""So many encodings of one length are worth a template."""
TEMPLATE_BYTES_MAX = 512
"""A template takes some 300 bytes for each number or byte string in it, and a byte may be a number."""
TEMPLATES_MAX = 64

Cells = Sequence[Sequence[Any]]
"""By its place, what each part of a template holds in one encoding after the other."""
Column = Callable[[Cells], Iterable[Any]]
"""What a field holds in one encoding after the other. Raises: Refused."""


class Layout:
    """The parts of an encoding in their order: bytes that stay the same, and those that are open."""

    def __init__(self) -> None:
        self._format, self._count, self._same = ">", 0, b""
        self._fixed: list[tuple[int, bytes]] = []

    def fix(self, encoding: bytes) -> None:
        """These bytes follow in every encoding."""
        self._same += encoding

    def leave_open(self, code: str) -> int:
        """What `struct` calls by this code follows; at which place of the cells it is."""
        self._add_same()
        return self._add(code)

    def finish(self) -> tuple[Struct, list[tuple[int, bytes]]]:
        """What takes encodings apart into cells, and which cells hold the same in all."""
        self._add_same()
        return Struct(self._format), self._fixed

    def _add_same(self) -> None:
        same, self._same = self._same, b""
        if same:
            self._fixed.append((self._add(f"{len(same)}s"), same))

    def _add(self, code: str) -> int:
        self._format, self._count = self._format + code, self._count + 1
        return self._count - 1


def numbers(place: int, least: int, most: int) -> Column:
    """The column of numbers at this place of the cells, none of which is beyond these bounds."""

    def column(cells: Cells) -> Iterable[Any]:
        found = cells[place]
        if min(found) < least or max(found) > most:
            raise Refused(f"not an integer from {least} to {most}")
        return found

    return column


def contents(place: int) -> Column:
    """The column of byte strings at this place of the cells; where all are equal, one stands for all.

    So what is alike in many transactions, such as their ledger's hash, is in memory once.
    """

    def column(cells: Cells) -> Iterable[Any]:
        found = cells[place]
        first, count = found[0], len(found)
        return [first] * count if first == found[-1] and found.count(first) == count else found

    return column


def side_by_side(columns: Sequence[Column | None], values: Iterable[Any]) -> Callable[[Cells], Iterator[Any]]:
    """A tuple of these columns' values for each encoding; where one is None, this value stands in all."""
    fields = list(zip(columns, values, strict=True))

    def rows(cells: Cells) -> Iterator[Any]:
        # What is the same in all is repeated without end.
        sources = [repeat(value) if column is None else column(cells) for column, value in fields]
        return zip(*sources, strict=False)

    return rows


class Model(Protocol):
    """What says how the values of one class are laid out: see `codec.shapes.Shape`."""

    def column(self, value: Any, layout: Layout) -> Column | None:
        """Lay this value out; None when nothing of it is open."""


class Template:
    """One value, and how to read what is encoded as it is but for what is open."""

    def __init__(self, model: Model, value: Any) -> None:
        layout = Layout()
        self._column = model.column(value, layout) or (lambda cells: repeat(value, len(cells[0])))
        self._struct, self._fixed = layout.finish()

    def read(self, data: Sequence[bytes]) -> list[Any]:
        """The values of encodings as long as the template. Raises: Refused when one is not like it."""
        cells = [*zip(*self._struct.iter_unpack(b"".join(data)), strict=True)]
        if any(cells[place].count(same) != len(data) for place, same in self._fixed):
            raise Refused("not like the others")
        return list(self._column(cells))


class Templates:
    """Templates of what was read, one for each class and length of an encoding."""

    def __init__(self) -> None:
        self._known: OrderedDict[tuple[Model, int], Template] = OrderedDict()

    def read(self, model: Model, data: Sequence[bytes]) -> list[Any] | None:
        """The values of encodings of one length; None where they are not like what was read before."""
        key = model, len(data[0])
        template = self._known.get(key)
        if template is None:
            return None
        try:
            return template.read(data)
        except Refused:
            self._known.pop(key, None)  # what comes now may be the better one
            return None

    def learn(self, model: Model, value: Any, size: int) -> None:
        """This was read, whose encoding has so many bytes: others like it may follow."""
        if size <= TEMPLATE_BYTES_MAX:
            self._known[model, size] = Template(model, value)
            if len(self._known) > TEMPLATES_MAX:
                self._known.popitem(last=False)

    def cache_clear(self) -> None:
        """Forget them all."""
        self._known.clear()
