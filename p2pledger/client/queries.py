"""Answers to queries, page by page, as plans without I/O (see `exchange`). Floor 7."""

import re
from collections.abc import Mapping
from urllib.parse import urlencode

from p2pledger.client import answers
from p2pledger.client.exchange import Limits, Nodes, Plan, exchange
from p2pledger.client.outcomes import InvalidAnswer, QueryPage

Value = str | int | bytes
"""What a parameter may be; bytes are sent in hexadecimal."""

_NAME = re.compile(r"[a-z]+(\.[a-z]+(-[a-z]+)*)+")


class Walk:
    """Which page of a query is due: the nodes all keep one order, so any of them may answer the next.

    Raises: ValueError when the name is none that a query can have.
    """

    def __init__(self, nodes: Nodes, limits: Limits, name: str, parameters: Mapping[str, Value]) -> None:
        if _NAME.fullmatch(name) is None:
            raise ValueError(f"{name!r} is no query's name, such as 'records.by-schema'")
        self._nodes, self._limits = nodes, limits
        self._path = "/v1/" + name.replace(".", "/")
        self._parameters = {
            key: value.hex() if isinstance(value, bytes) else str(value) for key, value in parameters.items()
        }
        self.is_over = False

    def next_page(self) -> Plan[QueryPage]:
        """The next page. Raises: Refused with the node's code, Unavailable, InvalidAnswer."""
        path = f"{self._path}?{urlencode(self._parameters)}" if self._parameters else self._path
        headers = {"Accept": "application/json"}
        done = yield from exchange(self._nodes, self._limits, "GET", path, headers=headers)
        page = answers.read_page(done.answer)
        if page.next is None:
            self.is_over = True
        elif page.next == self._parameters.get("after"):
            raise InvalidAnswer("a page that leads to itself")
        else:
            self._parameters["after"] = page.next
        return page
