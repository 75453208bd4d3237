"""The head of an item: what it is, and its number or its length (RFC 8949, section 3)."""

UNSIGNED, NEGATIVE, BYTES, TEXT, ARRAY = range(5)
HEADS_MAX = 4_096
"""Heads that are remembered: numbers of a block, lengths of a field."""

_SIZES = ((24, 1), (2**8, 2), (2**16, 3), (2**32, 5), (2**64, 9))
"""Below which number a head takes how many bytes."""
_WIDTHS = {2: 24, 3: 25, 5: 26, 9: 27}
"""What the first byte of a head of so many says."""
_CODES = {1: "B", 2: "B", 3: "H", 5: "I", 9: "Q"}
"""What `struct` calls the number in a head of so many."""


def head_size(number: int) -> int:
    """The size of the shortest head for a number."""
    return next(size for bound, size in _SIZES if number < bound)


def head(major: int, number: int) -> bytes:
    """The shortest head for a number."""
    size = head_size(number)
    if size == 1:
        return bytes([major << 5 | number])
    return bytes([major << 5 | _WIDTHS[size]]) + number.to_bytes(size - 1, "big")


def as_long(number: int) -> tuple[bytes, str, int, int]:
    """The numbers whose shortest heads are as long as this one's: the byte that says how long, if there is
    one, what `struct` calls the others, and the least and the greatest of these numbers."""
    size = head_size(number)
    least, beyond = [0, *(bound for bound, width in _SIZES if width <= size)][-2:]
    return bytes([_WIDTHS[size]] if size > 1 else []), _CODES[size], least, beyond - 1


def size_source(it: str, least: int, most: int) -> str:
    """The source of the size of the shortest head for the number `it`, which lies between two others.

    The longest stands first: most numbers are small, or are times.
    """
    sizes = [(bound, size) for bound, size in _SIZES if least < bound]
    sizes = sizes[: next(i for i, (bound, _) in enumerate(sizes) if most < bound) + 1]
    (_, last), shorter = sizes[-1], sizes[:-1]
    if not shorter:
        return str(last)
    ladder = "".join(f"{size} if {it} < {bound} else " for bound, size in shorter[:-1])
    bound, size = shorter[-1]
    return f"({last} if {it} >= {bound} else {ladder}{size})"


class Heads(dict[int, bytes]):
    """The heads of one major type by their number; what is not in it yet is worked out."""

    def __init__(self, major: int) -> None:
        super().__init__()
        self._major = major

    def __missing__(self, number: int) -> bytes:
        if len(self) >= HEADS_MAX:
            self.clear()
        self[number] = made = head(self._major, number)
        return made

    def cache_clear(self) -> None:
        """Forget them all."""
        self.clear()


UNSIGNEDS, NEGATIVES, STRINGS, ARRAYS = (Heads(major) for major in (UNSIGNED, NEGATIVE, BYTES, ARRAY))
