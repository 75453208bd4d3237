"""What a simulated ledger's authorities propose and vote, so that its list changes while it runs. Floor 8.

One more organisation is to be an authority, and one is to go. Whoever hands these transactions in sees what
is final, as clients do: votes follow their proposal, and what was not decided in time is proposed again.
"""

from collections.abc import Callable, Sequence

from p2pledger.chain.payloads.governance import (
    AuthorityAdd,
    AuthorityReady,
    AuthorityRemove,
    GovPropose,
    GovVote,
    sign_ready,
)
from p2pledger.chain.transaction import Transaction
from p2pledger.codec import encode
from p2pledger.simulator.city import City
from p2pledger.types import ZERO_HASH, Hash, Height

AHEAD = 6
"""How many blocks after its proposal a measure is to work."""
READY_EVERY = 3
"""How many blocks lie between two times that the joining node says that it is ready."""


class Council:
    """The authorities of one run, whose list changes. `is_final`: whether a transaction is in the chain."""

    def __init__(self, city: City, is_final: Callable[[Hash], bool]) -> None:
        self._city, self._is_final = city, is_final
        joiner, leaver = city.member(city.n + 1), city.member(city.n)
        self._joiner = joiner
        self._agenda: list[AuthorityAdd | AuthorityRemove] = [
            AuthorityRemove(leaver.organisation),
            AuthorityAdd(joiner.organisation, joiner.key, joiner.peer),
        ]
        self._voters = [city.member(i).organisation for i in range(city.n + 1)]
        self._proposal: Transaction | None = None
        self._votes: Sequence[Transaction] = ()
        self._until = 0
        self._ready_at = -READY_EVERY
        self._number = 0

    def wishes(self, height: int) -> list[Transaction]:
        """What to hand in now, when the chain has so many blocks."""
        wanted = []
        if height >= self._ready_at + READY_EVERY:
            self._ready_at = height
            wanted.append(self._ready(height))
        if self._proposal is not None and 3 * sum(map(self._has, self._votes)) > 2 * self._city.n:
            self._agenda.pop()
            self._proposal = None
        if self._proposal is not None and height >= self._until:
            self._proposal = None
        if self._proposal is None and self._agenda:
            self._propose(height)
        if self._proposal is not None:
            is_open = self._has(self._proposal)
            wanted += [vote for vote in self._votes if not self._has(vote)] if is_open else [self._proposal]
        return wanted

    def _has(self, transaction: Transaction) -> bool:
        return self._is_final(transaction.id)

    def _propose(self, height: int) -> None:
        measure, self._until = self._agenda[-1], height + AHEAD
        proposal = GovPropose(
            measure.KIND, encode(measure), Height(self._until), "council:simulated", ZERO_HASH
        )
        self._proposal = self._made(proposal, self._voters[1])
        vote = GovVote(self._proposal.id, approves=True)
        self._votes = [self._made(vote, voter) for voter in self._voters]

    def _ready(self, height: int) -> Transaction:
        city = self._city
        ready = sign_ready(city.genesis.hash, city.signer(city.n + 2), Height(height), ZERO_HASH)
        return self._made(ready, self._joiner.organisation)

    def _made(self, payload: GovPropose | GovVote | AuthorityReady, sponsor: str) -> Transaction:
        self._number += 1
        return self._city.by_admin(payload, sponsor, self._number)
