"""What a peer's name stands for now. Floor 5.

A pod that is started again has another address under the same name, and a name may stand for nothing until
its pod is there: so nothing is remembered, and a name is looked up for each dial. The operating system is
asked, so that a hosts file and search domains count; the library asks name servers only.
"""

import socket
from collections.abc import Callable
from typing import Any

import trio
from multiaddr import Multiaddr

LookUp = Callable[[str, int], list[tuple[Any, ...]]]
"""From a name and an address family to what `socket.getaddrinfo` gives. Called in a thread; may be slow."""

AT_ONCE = 32
"""Lookups under way. A resolver that hangs keeps its threads after nobody waits for it any more, and those
who sign and store need threads too."""

_FAMILIES = {"dns": socket.AF_UNSPEC, "dns4": socket.AF_INET, "dns6": socket.AF_INET6}
_KINDS = {socket.AF_INET: "ip4", socket.AF_INET6: "ip6"}


def look_up(name: str, family: int) -> list[tuple[Any, ...]]:
    """What the operating system says. Raises: OSError."""
    return list(socket.getaddrinfo(name, None, family, socket.SOCK_STREAM))


class Names:
    """Turns multiaddrs that begin with a name into ones that begin with its addresses of now."""

    def __init__(self, look_up: LookUp = look_up) -> None:
        self._look_up = look_up
        self._threads = trio.CapacityLimiter(AT_ONCE)
        self._under_way: set[tuple[str, int]] = set()

    async def resolve(self, address: str) -> list[Multiaddr]:
        """The addresses, in the resolver's order; an address without a name is itself.

        A name has one lookup under way, however often it is asked for. Raises: OSError, MultiaddrError.
        """
        parsed = Multiaddr(address)
        kind, *_ = (protocol.name for protocol in parsed.protocols())
        if kind not in _FAMILIES:
            return [parsed]
        name, rest = str(parsed.value_for_protocol(kind)), address.split("/", 3)[3]
        asked = name, int(_FAMILIES[kind])
        if asked in self._under_way:
            raise OSError(f"{name} is still being looked up")
        found = await trio.to_thread.run_sync(
            self._ask,
            asked,
            abandon_on_cancel=True,  # type: ignore[call-arg]  # the stubs have its name of before
            limiter=self._threads,
        )
        return [
            Multiaddr(f"/{_KINDS[family]}/{where[0]}/{rest}")
            for family, _, _, _, where in found
            if family in _KINDS
        ]

    def _ask(self, asked: tuple[str, int]) -> list[tuple[Any, ...]]:
        self._under_way.add(asked)
        try:
            return self._look_up(*asked)
        finally:
            self._under_way.discard(asked)
