"""What a start finds on disk, put together for the agreement core. Floor 6."""

from collections.abc import Callable

from p2pledger.chain.authority import AuthoritySet
from p2pledger.chain.block import genesis_digest
from p2pledger.chain.epoch import epoch_of
from p2pledger.chain.genesis import Genesis
from p2pledger.chain.vote import Certificate
from p2pledger.consensus.events import Recovered
from p2pledger.node import offences
from p2pledger.signer.guardfile import Durable
from p2pledger.storage.store import Store
from p2pledger.types import Epoch, Height


def recovered(genesis: Genesis, store: Store, durable: Durable | None) -> Recovered:
    """The chain's tip and the guard file's content. `durable` is None when there is no guard.

    Raises: Fatal when the store is damaged.
    """
    tip = store.tip()
    epoch = epoch_of(tip.height + 1, genesis.parameters.epoch_blocks)
    sets = {Epoch(0): genesis.authorities, Epoch(1): genesis.next_authorities}
    for decided in range(max(0, epoch - 3), epoch):
        boundary = store.boundary(Epoch(decided))
        assert boundary is not None, "an epoch that is over has its boundary stored"
        sets[Epoch(decided + 2)] = boundary.next_set
    last = store.boundary(Epoch(epoch - 1)) if epoch else None
    block = store.block(tip.height) if tip.height else None
    finals = [durable.final] if durable is not None and durable.final is not None else []
    return Recovered(
        epoch=epoch,
        sets={e: authorities for e, authorities in sets.items() if epoch - 1 <= e <= epoch + 1},
        base_digest=last.header.digest if last is not None else genesis_digest(genesis),
        base_height=last.header.height if last is not None else Height(0),
        tip_digest=tip.header.digest if tip.header is not None else genesis_digest(genesis),
        tip_height=tip.height,
        tip_time_ms=tip.header.time_ms if tip.header is not None else genesis.time_ms,
        tip_certificate=block.certificate if block is not None else None,
        guard=durable.guard.at if durable is not None else None,
        voted=durable.guard.ballots() if durable is not None else (),
        votes=durable.votes if durable is not None else (),
        proposals=durable.proposals if durable is not None else (),
        certificates=(*durable.certificates, *finals) if durable is not None else (),
        boundaries=_boundaries(store, epoch, durable),
        offences=offences.load(store, epoch),
    )


def stored_lists(genesis: Genesis, store: Store) -> Callable[[Epoch], AuthoritySet | None]:
    """What a signer asks for the list of an epoch: those of the genesis file, then what the store holds.

    A list is there once the end of the epoch that decided on it is stored (`Finals.put`). Any thread may ask.
    """
    sets = {Epoch(0): genesis.authorities, Epoch(1): genesis.next_authorities}

    def authorities_of(epoch: Epoch) -> AuthoritySet | None:
        if epoch not in sets and (boundary := store.boundary(Epoch(epoch - 2))) is not None:
            sets[epoch] = boundary.next_set
        return sets.get(epoch)

    return authorities_of


def _boundaries(store: Store, epoch: Epoch, durable: Durable | None) -> dict[Epoch, Certificate]:
    kept = dict(durable.boundaries) if durable is not None else {}
    for past in range(epoch):
        if (boundary := store.boundary(Epoch(past))) is not None:
            kept[Epoch(past)] = boundary.certificate
    return kept
