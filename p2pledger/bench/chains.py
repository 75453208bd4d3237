"""What each node's final blocks hold, read from the node itself. Floor 9."""

import trio

from p2pledger.client import AsyncClient
from p2pledger.types import Hash, Height

POLL_S = 0.25


class Disagreement(Exception):
    """Two nodes hold different blocks final at one height: nothing that was measured is worth anything."""


class Chain:
    """One node's final blocks from a height on. `ids`: at which height each transaction stands."""

    def __init__(self, client: AsyncClient) -> None:
        self._client = client
        self.height = Height(0)
        self.ids: dict[Hash, Height] = {}
        self.digests: dict[Height, Hash] = {}

    async def tip(self) -> Height:
        """How high the node's final blocks reach now."""
        return (await self._client.status()).height

    async def read_on(self) -> None:
        """Read the blocks that came since."""
        tip = await self.tip()
        while self.height < tip:
            height = Height(self.height + 1)
            block = await self._client.block(height)
            self.digests[height] = block.header.digest
            self.ids.update(dict.fromkeys(block.transaction_ids, height))
            self.height = height


class Chains:
    """The final blocks of all nodes."""

    def __init__(self, clients: list[AsyncClient]) -> None:
        self._chains = [Chain(client) for client in clients]

    @property
    def held(self) -> list[dict[Hash, Height]]:
        """The height of each transaction, node by node."""
        return [chain.ids for chain in self._chains]

    async def common_height(self) -> Height:
        """How high the final blocks of every node reach, at the least, when this is called."""
        tips = []

        async def ask(chain: Chain) -> None:
            tips.append(await chain.tip())

        async with trio.open_nursery() as nursery:
            for chain in self._chains:
                nursery.start_soon(ask, chain)
        return min(tips)

    async def await_final(self, wanted: set[Hash], patience_s: float) -> None:
        """Read on until every node has all these, or the patience is over: at least what is there now.

        Raises: Disagreement.
        """
        patient_until_s = trio.current_time() + patience_s
        while True:
            async with trio.open_nursery() as nursery:
                for chain in self._chains:
                    nursery.start_soon(chain.read_on)
            is_whole = all(wanted <= ids.keys() for ids in self.held)
            if is_whole or trio.current_time() >= patient_until_s:
                break
            await trio.sleep(POLL_S)
        self._check_agreement()

    def forget(self) -> None:
        """Let go of what was read; what comes next is read as before."""
        for chain in self._chains:
            chain.ids.clear()
            chain.digests.clear()

    def _check_agreement(self) -> None:
        agreed: dict[Height, Hash] = {}
        for chain in self._chains:
            for height, digest in chain.digests.items():
                if agreed.setdefault(height, digest) != digest:
                    raise Disagreement(f"different blocks are final at height {height}")
