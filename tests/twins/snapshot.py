"""Copies of a running instance: nothing here knows the core's fields.

Frozen dataclasses (headers, votes, certificates, ...) are values: they are shared, never copied. Whatever can
change is copied. The core holds nothing that can change in two places (`places` counts), so that a copy
needs no memory of what it has met.
"""

import enum
from collections.abc import Callable
from typing import Any

Copier = Callable[[Any], Any]


class _Copiers(dict[type, Copier | None]):
    """How a thing of each type is copied: None where there is no need."""

    def __missing__(self, kind: type) -> Copier | None:
        copiers = {dict: _copied_dict, list: _copied_list, set: set}
        copier = self[kind] = None if is_value(kind) else copiers.get(kind, _copied_object)
        return copier


_COPIERS = _Copiers()


def is_value(kind: type) -> bool:
    """Whether things of this type never change."""
    parameters = getattr(kind, "__dataclass_params__", None)
    is_frozen = parameters is not None and parameters.frozen
    is_plain = kind in (bool, bytes, frozenset, int, str, tuple, type(None), type(is_value))
    return is_plain or is_frozen or issubclass(kind, enum.Enum)


def copied(thing: Any) -> Any:
    """A copy that shares only what never changes."""
    copier = _COPIERS[type(thing)]
    return thing if copier is None else copier(thing)


def _copied_dict(thing: dict[Any, Any]) -> dict[Any, Any]:
    copy = thing.copy()
    for key, value in copy.items():
        copier = _COPIERS[type(value)]
        if copier is not None:
            copy[key] = copier(value)
    return copy


def _copied_list(thing: list[Any]) -> list[Any]:
    return [copied(item) for item in thing]


def _copied_object(thing: Any) -> Any:
    copy = object.__new__(type(thing))
    copy.__dict__ = _copied_dict(thing.__dict__)
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
