"""A simulated node verifies what a real one does."""

from dataclasses import replace

import pytest
from p2pledger.chain.payloads import sign_ready
from p2pledger.errors import InvalidTransaction
from p2pledger.ledger.machine import Round
from p2pledger.simulator.city import START_MS, city
from p2pledger.simulator.pool import Pool
from p2pledger.storage.memory import MemoryStore
from p2pledger.types import Epoch, Hash, Height, Millis


@pytest.mark.parametrize("way", ["gossiped", "fetched"])
def test_what_is_signed_inside_a_payload_is_verified_as_it_comes(way):
    here = city(4, False, False)
    pool = Pool(here, MemoryStore(here.genesis, here.start))
    good = sign_ready(here.genesis.hash, here.signer(1), Height(0), Hash(bytes(32)))
    bad = replace(good, digest=Hash(b"\1" * 32))
    name = here.genesis.authorities.members[0].organisation
    some = [here.by_admin(one, name, number) for number, one in enumerate((good, bad))]
    if way == "gossiped":
        assert pool.take(some, START_MS)
    else:
        assert pool.keep(some, [one.id for one in some])
    assert here.machine.signed_inside(some).keys() == {some[1].id}
    at = Round(Epoch(0), Height(1), Millis(START_MS + 1))
    here.machine.check(pool._store, at, some[0])
    with pytest.raises(InvalidTransaction) as refused:
        here.machine.check(pool._store, at, some[1])
    assert refused.value.code == "proof_invalid"
