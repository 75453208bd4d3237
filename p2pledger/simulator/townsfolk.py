"""Those who use the ledger in a simulated run: every kind of transaction and measure comes up. Floor 8."""

from collections.abc import Callable

from p2pledger.chain.transaction import Transaction
from p2pledger.simulator.city import City
from p2pledger.simulator.client import Chain, Client
from p2pledger.simulator.officials import Officials
from p2pledger.simulator.residents import DAY_MS, Residents

LEAP_MS = 60 * DAY_MS
"""Claims and settlements are for a week and a month that are over: so long the city sleeps in between."""


class Townsfolk:
    """The clients of one run. `chain`: what is final now. `clock`: the time now, as everybody sees it."""

    def __init__(self, city: City, chain: Callable[[], Chain], clock: Callable[[], int]) -> None:
        self._clients: tuple[Client, ...] = Residents(city, chain, clock), Officials(city, chain, clock)

    @property
    def wrong(self) -> list[Transaction]:
        """What was handed in and must never be final."""
        return [one for client in self._clients for one in client.wrong]

    @property
    def is_settled(self) -> bool:
        """Whether all that can be had before the leap, or after it, is final."""
        return {client.is_settled for client in self._clients} == {True}

    @property
    def waits_for(self) -> str:
        """What is not final, in words."""
        return ", ".join(sorted(set().union(*(client.waits_for for client in self._clients))))

    def leap(self) -> None:
        """The periods that they were rewarded for are over."""
        for client in self._clients:
            client.leap()

    def wishes(self) -> list[Transaction]:
        """What to hand in now."""
        return [one for client in self._clients for one in client.wishes()]
