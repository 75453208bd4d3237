"""A gateway that does not keep everybody's bodies for ever. Floor 6.

Its organisation's own stay, with everything else of the chain: blocks, certificates, results, the state, the
indexes, and what each transaction was a record of. Authorities keep all, so a gateway that lacks a body has
whom to send for it.
"""

from p2pledger.ledger.modules.registry import gateway
from p2pledger.storage.store import Store
from p2pledger.types import Height, PeerId

AT_ONCE_BLOCKS = 64
"""Bodies of so many blocks, or more, are dropped by one write to the disk."""


class Pruning:
    """Drops the bodies of others that are older than `kept_blocks`, for the gateway that is this peer."""

    def __init__(self, store: Store, kept_blocks: int, peer: PeerId) -> None:
        self._store, self._kept_blocks, self._peer = store, kept_blocks, peer

    def go_on(self) -> None:
        """Drop what has become too old, some of it at a time. Called after each commit, in its thread."""
        to_height = Height(self._store.tip().height - self._kept_blocks)
        if to_height < self._store.pruned_height + AT_ONCE_BLOCKS:
            return
        own = gateway(self._store, self._peer)
        if own is not None:  # until it has joined, nobody knows what will be its own
            self._store.prune(to_height, own.organisation)
