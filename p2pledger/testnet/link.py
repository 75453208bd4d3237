"""A `replay.Link` over the project's own client: one gateway, one node, no other to turn to. Floor 8."""

from collections.abc import AsyncIterator, Sequence

import trio

from p2pledger.chain.transaction import Outcome, Transaction
from p2pledger.client import AsyncClient
from p2pledger.client.outcomes import Accepted, LedgerError, Refused, Undecided
from p2pledger.testnet.fleet import Gateway
from p2pledger.testnet.replay import Ending
from p2pledger.types import Hash, Height

AWAY_S = 1.0


class ClientLink:
    """See `replay.Link`."""

    def __init__(self, gateway: Gateway, client: AsyncClient) -> None:
        self.gateway = gateway
        self._client = client

    async def submit(self, transactions: Sequence[Transaction]) -> Sequence[Ending]:
        """See `replay.Link.submit`."""
        try:
            answers = await self._client.submit_many(transactions)
        except LedgerError:
            return [Ending(Outcome.UNKNOWN)] * len(transactions)
        return [_ending_of(answer) for answer in answers]

    async def fate(self, transaction_id: Hash) -> Ending:
        """See `replay.Link.fate`."""
        try:
            fate = await self._client.fate(transaction_id)
        except LedgerError:
            return Ending(Outcome.UNKNOWN)
        return Ending(fate.outcome, fate.code)

    async def height(self) -> Height:
        """See `replay.Link.height`."""
        return (await self._client.status()).height

    async def finals(self, after: Height) -> AsyncIterator[Sequence[Hash]]:
        """See `replay.Link.finals`. A node that is away is waited for."""
        while True:
            try:
                async for event in self._client.events(after):
                    after = event.height
                    yield event.transaction_ids
            except LedgerError:
                await trio.sleep(AWAY_S)


def _ending_of(answer: Accepted | Refused | Undecided) -> Ending:
    if isinstance(answer, Accepted):
        return Ending(Outcome.PENDING)
    return Ending(Outcome.REFUSED, answer.code) if isinstance(answer, Refused) else Ending(Outcome.UNKNOWN)
