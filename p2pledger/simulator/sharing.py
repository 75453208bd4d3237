"""Executing a block once for all nodes. Floor 8.

Executing is a pure function of the parent's block and the block, which the state root under every vote
proves. So what one node worked out serves the others, in three runs of four: the fourth executes
everything everywhere, and would show a node whose own store tells it something else.
"""

from p2pledger.chain.block import BLOCK_TRANSACTIONS_MAX
from p2pledger.chain.genesis import Genesis
from p2pledger.consensus import events
from p2pledger.ledger.machine import Machine
from p2pledger.node.executor import Executor, Pending
from p2pledger.node.layers import Layer, Layers
from p2pledger.types import Hash, Millis

EVERYWHERE_EVERY = 4


class SharingExecutor(Executor):
    """An executor that takes what another node has worked out. `worked_out`: layers by block digest."""

    def __init__(
        self,
        genesis: Genesis,
        machine: Machine,
        layers: Layers,
        pool: Pending,
        worked_out: dict[Hash, Layer],
    ) -> None:
        super().__init__(genesis, machine, layers, pool)
        self._worked_out = worked_out

    def execute(self, work: events.Execute) -> events.Executed:
        """See `Executor.execute`. A body that is lacking here is lacking, whoever else has it."""
        known = self._worked_out.get(work.header.digest)
        if known is not None and all(self._pool.get(i) is not None for i in work.transaction_ids):
            self.observe(work, is_whole=True)
            self._layers.add(work.header, known.transactions, known.execution)
            return events.Executed(
                work.header.digest, events.Judgement.VALID, next_set=known.execution.next_set
            )
        executed = super().execute(work)
        self._share(work.header.digest)
        return executed

    def build(
        self, work: events.Build, now: Millis, transactions_max: int = BLOCK_TRANSACTIONS_MAX
    ) -> events.Built:
        """See `Executor.build`."""
        built = super().build(work, now, transactions_max)
        self._share(built.header.digest)
        return built

    def _share(self, digest: Hash) -> None:
        if (layer := self._layers.get(digest)) is not None:
            self._worked_out[digest] = layer
