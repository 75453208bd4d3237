"""Rows of the final state that need no second reading. Floor 4, pure."""

from collections.abc import Iterable
from typing import Any

from p2pledger.types import Height

ROWS_KNOWN_MAX = 16_384


class KnownRows:
    """What trials on the final state have read of it, decoded; it holds until a block writes it.

    Keys, devices and organisations are read for each transaction and hardly ever written. No more than
    ROWS_KNOWN_MAX are kept beside those of one trial, and all are forgotten together.
    """

    def __init__(self, height: Height) -> None:
        self._height, self._rows = height, dict[bytes, Any]()

    def after(self, height: Height) -> dict[bytes, Any]:
        """The rows known of the state after this height, for a trial on it, which adds what it reads.

        While `settle` was not told of a block that the state has, none are known of it.
        """
        if len(self._rows) > ROWS_KNOWN_MAX:
            self._rows.clear()
        return self._rows if height == self._height else {}

    def settle(self, height: Height, written: Iterable[bytes]) -> None:
        """The block of this height is final, and wrote under these keys."""
        if height != self._height + 1:
            self._rows.clear()
        for key in written:
            self._rows.pop(key, None)
        self._height = height
