from dataclasses import replace

import pytest
from p2pledger.chain.genesis import LAN, WAN, GenesisGateway
from p2pledger.codec import decode, encode, from_json, to_json
from p2pledger.types import PeerId
from tests.ledgers import genesis, signer

GENESIS = genesis()


def test_the_hash_names_every_rule():
    others = [
        replace(GENESIS, chain_id="other"),
        replace(GENESIS, time_ms=GENESIS.time_ms + 1),
        replace(GENESIS, parameters=WAN),
        replace(GENESIS, parameters=replace(LAN, delta_ms=101)),
        replace(GENESIS, gateways=()),
        replace(GENESIS, organisations=GENESIS.organisations[::-1]),
    ]
    assert len({one.hash for one in (GENESIS, *others)}) == 7


def test_it_survives_both_forms():
    assert decode(type(GENESIS), encode(GENESIS)) == GENESIS
    assert from_json(type(GENESIS), to_json(GENESIS)) == GENESIS


def test_a_key_has_one_role():
    city = next(one for one in GENESIS.organisations if one.id == "city")
    taken = [city.admin_keys[0], GENESIS.authorities.members[0].key]
    for key in taken:
        with pytest.raises(ValueError, match="stands twice"):
            replace(GENESIS, gateways=(GenesisGateway("city", key, PeerId("p")),))


def test_everyone_belongs_to_an_organisation():
    gateway = GenesisGateway("nobody", signer("g").public_key, PeerId("p"))
    with pytest.raises(ValueError, match="'nobody' is not among"):
        replace(GENESIS, gateways=(gateway,))
    with pytest.raises(ValueError, match="not among"):
        replace(GENESIS, organisations=GENESIS.organisations[1:])
    with pytest.raises(ValueError, match="stands twice"):
        replace(GENESIS, organisations=(*GENESIS.organisations, GENESIS.organisations[0]))


@pytest.mark.parametrize("threshold", [0, 3, 8])
def test_a_threshold_can_be_reached(threshold):
    city = next(one for one in GENESIS.organisations if one.id == "city")
    with pytest.raises(ValueError):
        encode(replace(city, threshold=threshold))


@pytest.mark.parametrize("buckets", [17, 32, 1_024, 8_192])
def test_buckets_are_a_power_of_16(buckets):
    with pytest.raises(ValueError):
        replace(LAN, state_buckets=buckets)


def test_the_residents_sponsor_is_no_organisation():
    residents = replace(GENESIS.organisations[-1], id="residents")
    with pytest.raises(ValueError, match="not an organisation"):
        replace(GENESIS, organisations=(*GENESIS.organisations, residents))
