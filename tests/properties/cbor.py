"""A CBOR of the few kinds that the ledger uses, read and written as RFC 8949, section 4.2.1 says.

It judges the codec, so it shares nothing with it: neither code nor library.
"""

from typing import Any, NamedTuple

UINT, NEGATIVE, BYTES, TEXT, ARRAY, MAP, TAG, SIMPLE = range(8)
NESTING_MAX = 100
_SIMPLE = {20: False, 21: True, 22: None}


class NotCanonical(Exception):
    """These bytes are not the one encoding of a value."""


class Head(NamedTuple):
    """The start of one item: where it stands, how many bytes it takes, and what it says."""

    start: int
    size: int
    major: int
    number: int


def head(major: int, number: int, width: int | None = None) -> bytes:
    """An item's head: the shortest, or with its number in so many bytes (0: inside the first)."""
    if width is None:
        width = next(w for w, end in ((0, 24), (1, 2**8), (2, 2**16), (4, 2**32), (8, 2**64)) if number < end)
    if width == 0:
        return bytes([major << 5 | number])
    return bytes([major << 5 | {1: 24, 2: 25, 4: 26, 8: 27}[width]]) + number.to_bytes(width, "big")


def write(value: Any) -> bytes:
    """The one encoding of integers, bytes, texts, lists, True, False and None, nested at will."""
    if value is None or isinstance(value, bool):
        return head(SIMPLE, {False: 20, True: 21, None: 22}[value])
    if isinstance(value, int):
        return head(UINT, value) if value >= 0 else head(NEGATIVE, -1 - value)
    if isinstance(value, bytes):
        return head(BYTES, len(value)) + value
    if isinstance(value, str):
        return head(TEXT, len(value.encode())) + value.encode()
    return head(ARRAY, len(value)) + b"".join(map(write, value))


def read(data: bytes) -> Any:
    """The value of which these bytes are the one encoding; arrays are lists. Raises: NotCanonical."""
    value, end = _item(data, 0, 0)
    if end != len(data):
        raise NotCanonical("something follows")
    return value


def heads(data: bytes) -> list[Head]:
    """The heads of all items of a canonical encoding, in order."""
    found, position = [], 0
    while position < len(data):
        major, number, end = _head(data, position)
        found.append(Head(position, end - position, major, number))
        position = end + number if major in (BYTES, TEXT) else end
    return found


def _head(data: bytes, start: int) -> tuple[int, int, int]:
    if start >= len(data):
        raise NotCanonical("it ends too early")
    major, low = data[start] >> 5, data[start] & 31
    if low < 24:
        return major, low, start + 1
    if low > 27:
        raise NotCanonical("an indefinite length, or a reserved one")
    width = 1 << low - 24
    number = int.from_bytes(data[start + 1 : start + 1 + width], "big")
    if len(data) < start + 1 + width or head(major, number) != data[start : start + 1 + width]:
        raise NotCanonical("a number that is cut off, or not as short as it can be")
    return major, number, start + 1 + width


def _item(data: bytes, start: int, nesting: int) -> tuple[Any, int]:
    major, number, position = _head(data, start)
    if major == UINT:
        return number, position
    if major == NEGATIVE:
        return -1 - number, position
    if major in (BYTES, TEXT):
        content = data[position : position + number]
        if len(content) < number:
            raise NotCanonical("a string that is cut off")
        if major == BYTES:
            return content, position + number
        try:
            return content.decode(), position + number
        except UnicodeDecodeError:
            raise NotCanonical("a text that is not UTF-8") from None
    if major == ARRAY:
        if number > len(data) or nesting == NESTING_MAX:
            raise NotCanonical("an array that is cut off, or too deep for any message")
        items = []
        for _ in range(number):
            item, position = _item(data, position, nesting + 1)
            items.append(item)
        return items, position
    if major == SIMPLE and number in _SIMPLE:
        return _SIMPLE[number], position
    raise NotCanonical("a map, a tag, a float, or another thing that is not used here")
