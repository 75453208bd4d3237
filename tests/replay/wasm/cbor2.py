"""In the place of cbor2 under WebAssembly: what the ledger's codec asks of it, in plain Python."""


class CBORDecodeError(Exception):
    pass


def dumps(value):
    if isinstance(value, bool) or not isinstance(value, int | str):
        raise TypeError(value)
    if isinstance(value, str):
        data = value.encode()
        return _head(3, len(data)) + data
    return _head(0, value) if value >= 0 else _head(1, -1 - value)


def _head(major, number):
    if number < 24:
        return bytes([major << 5 | number])
    power = next(power for power in range(4) if number < 256 ** (1 << power))
    return bytes([major << 5 | 24 + power]) + number.to_bytes(1 << power, "big")


def loads(data, *, max_depth, **_):
    return _item(data, 0, max_depth)[0]


def _take(data, at, count):
    if at + count > len(data):
        raise CBORDecodeError("it ends too early")
    return data[at : at + count], at + count


def _item(data, at, depth):
    (first,), at = _take(data, at, 1)
    major, number = first >> 5, first & 31
    if depth == 0 or (major > 4 and first not in (0xF4, 0xF5, 0xF6)) or number > 27:
        raise CBORDecodeError(f"{first} is not used here")
    if major == 7:
        return {0xF4: False, 0xF5: True, 0xF6: None}[first], at
    if number > 23:
        read, at = _take(data, at, 1 << number - 24)
        number = int.from_bytes(read, "big")
    if major < 2:
        return (-1 - number if major else number), at
    if major < 4:
        read, at = _take(data, at, number)
        return (read.decode() if major == 3 else read), at
    items = []
    for _ in range(number):
        one, at = _item(data, at, depth - 1)
        items.append(one)
    return tuple(items), at
