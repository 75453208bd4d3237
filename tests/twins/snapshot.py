"""Copies of a running instance: nothing here knows the core's fields.

Frozen dataclasses (headers, votes, certificates, ...) are values: they are shared, never copied. Whatever can
change is copied. The core holds nothing that can change in two places (`places` counts), so that a copy
needs no memory of what it has met.
"""

import enum
from typing import Any

_SHARED: dict[type, bool] = {}


def is_value(kind: type) -> bool:
    """Whether things of this type never change."""
    if kind not in _SHARED:
        parameters = getattr(kind, "__dataclass_params__", None)
        is_frozen = parameters is not None and parameters.frozen
        is_plain = kind in (bool, bytes, frozenset, int, str, tuple, type(None), type(is_value))
        _SHARED[kind] = is_plain or is_frozen or issubclass(kind, enum.Enum)
    return _SHARED[kind]


def copied(thing: Any) -> Any:
    """A copy that shares only what never changes."""
    kind = type(thing)
    if is_value(kind):
        return thing
    if kind is list:
        return [copied(item) for item in thing]
    if kind is set:
        return set(thing)
    contents = dict(thing if kind is dict else thing.__dict__)
    for name, value in contents.items():
        if not _SHARED.get(type(value)):
            contents[name] = copied(value)
    if kind is dict:
        return contents
    copy = kind.__new__(kind)
    copy.__dict__ = contents
    return copy


def places(thing: Any) -> list[int]:
    """The identity of everything in it that can change, as often as it is met."""
    kind = type(thing)
    if is_value(kind):
        return []
    if kind is dict:
        inner = list(thing.values())
    elif kind in (list, set):
        inner = list(thing)
    else:
        inner = list(thing.__dict__.values())
    return [id(thing), *(place for item in inner for place in places(item))]
