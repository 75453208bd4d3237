"""A testnet's directory: what is made can be opened, started from, and is taken for nothing else."""

from pathlib import Path

import pytest
from p2pledger.chain.genesis import Quota
from p2pledger.node.config import Role, load_configuration
from p2pledger.signer.keyfile import SecretRole, load_key_file, read_passphrase
from p2pledger.testnet.directory import (
    Charter,
    NotATestnet,
    Plan,
    create_directory,
    find_plan,
    open_directory,
)
from p2pledger.types import Millis


def test_every_node_has_a_configuration_that_loads_and_keys_that_the_genesis_names(tmp_path: Path) -> None:
    made = create_directory(tmp_path / "net", Plan(2, 1, 7_100))
    opened = open_directory(tmp_path / "net")
    assert opened == made
    assert [node.name for node in made.nodes] == ["authority-1", "authority-2", "gateway-1"]
    assert opened.genesis.hash == made.genesis.hash
    authorities = made.genesis.authorities.members
    for index, node in enumerate(made.nodes):
        configuration = load_configuration(node.configuration, {})
        assert configuration.node.role is node.role
        assert configuration.node.genesis.resolve() == tmp_path / "net" / "genesis.json"
        assert f"http://{configuration.api.host}:{configuration.api.port}" == node.http_url
        assert len(configuration.network.peers) == 2
        assert not any(
            peer.startswith(configuration.network.listen + "/") for peer in configuration.network.peers
        )
        if node.role is Role.AUTHORITY:
            assert configuration.keys.consensus is not None
            secret = load_key_file(
                configuration.keys.consensus, SecretRole.CONSENSUS, configuration.keys.passphrase
            )
            assert secret.public_key == authorities[index].key
            assert (node.home / "guard" / "guard.db").exists()
    (gateway,) = made.gateways()
    assert gateway.signer.public_key == made.genesis.gateways[0].key
    assert gateway.peer == made.genesis.gateways[0].peer


def test_nothing_secret_is_readable_by_others(tmp_path: Path) -> None:
    made = create_directory(tmp_path / "net", Plan(1, 1, 7_100))
    secrets = [*made.path.rglob("*.key"), made.path / "passphrase"]
    assert len(secrets) == 7
    assert {path.stat().st_mode & 0o077 for path in [made.path, *secrets]} == {0}
    assert len(read_passphrase(made.path / "passphrase", {})) == 32


def test_what_is_no_testnet_is_left_alone(tmp_path: Path) -> None:
    assert find_plan(tmp_path) is None
    assert find_plan(tmp_path / "none") is None
    (tmp_path / "letter.txt").write_text("mine")
    with pytest.raises(NotATestnet, match="--dir"):
        find_plan(tmp_path)
    (tmp_path / "testnet.json").write_text('{"authorities": 4')
    with pytest.raises(NotATestnet, match="--dir"):
        find_plan(tmp_path)


def test_a_testnet_whose_making_was_cut_short_is_not_taken_for_one(tmp_path: Path) -> None:
    create_directory(tmp_path, Plan(1, 1, 7_100))
    (tmp_path / "testnet.json").unlink()
    with pytest.raises(NotATestnet):
        open_directory(tmp_path)


def test_a_charter_says_whose_nodes_are_and_who_else_there_is(tmp_path: Path) -> None:
    charter = Charter(
        owners={"authority-1": "transport", "gateway-1": "transport"},
        others=("carrier",),
        kinds={"carrier": "haulage"},
        quotas={"carrier": Quota(10, 1_000)},
        time_ms=Millis(1_700_000_000_000),
    )
    made = create_directory(tmp_path / "net", Plan(1, 1, 7_100), charter)
    genesis = made.genesis
    assert {o.id: o.kind for o in genesis.organisations} == {"transport": "gateway", "carrier": "haulage"}
    assert next(o.quota for o in genesis.organisations if o.id == "carrier") == Quota(10, 1_000)
    assert [member.organisation for member in genesis.authorities.members] == ["transport"]
    assert [gateway.organisation for gateway in made.gateways()] == ["transport"]
    assert genesis.time_ms == 1_700_000_000_000
    for organisation in genesis.organisations:
        assert organisation.admin_keys == (made.admin(organisation.id).public_key,)


def test_a_newcomer_is_there_when_the_testnet_is_opened_again(tmp_path: Path) -> None:
    made = create_directory(tmp_path / "net", Plan(1, 1, 7_100))
    grown = made.with_newcomer("gateway-2", Role.GATEWAY)
    assert [node.name for node in grown.nodes] == ["authority-1", "gateway-1", "gateway-2"]
    again = open_directory(tmp_path / "net")
    later = again.without("authority-1")
    assert [node.name for node in later.nodes] == ["gateway-1", "gateway-2"]
    assert later.nodes == grown.nodes[1:] and open_directory(tmp_path / "net") == later
    assert again == grown and [gateway.name for gateway in again.gateways()] == ["gateway-1"]
