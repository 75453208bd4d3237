"""A testnet of hosts: each home can be carried away, peers are reached by name, links have their ports."""

import shutil
from itertools import permutations
from pathlib import Path

import pytest
from click.testing import CliRunner
from p2pledger.cli import main
from p2pledger.node.config import load_configuration
from p2pledger.testnet.directory import (
    LINKED,
    Directory,
    NotATestnet,
    Plan,
    create_directory,
    find_plan,
    open_directory,
)
from p2pledger.testnet.hosts import Hosts, link_port
from p2pledger.testnet.ports import NODES_MAX
from rich.console import Console

HOSTS = Hosts("{name}", "{name}.p2p", "links")


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Directory:
    return create_directory(tmp_path_factory.mktemp("hosts") / "net", Plan(2, 1, 0, hosts=HOSTS))


def test_it_is_opened_as_it_was_made(made: Directory) -> None:
    assert open_directory(made.path) == made


@pytest.mark.parametrize("file", ["node.toml", LINKED])
def test_a_home_alone_is_all_that_a_node_needs(made: Directory, tmp_path: Path, file: str) -> None:
    for node in made.nodes:
        home = shutil.copytree(node.home, tmp_path / node.name)
        configuration = load_configuration(home / file, {})
        assert configuration.keys.passphrase and configuration.node.genesis.parent == home
        assert configuration.network.listen == "/ip4/0.0.0.0/tcp/7160"
        assert (configuration.api.host, configuration.metrics.host) == ("0.0.0.0", "0.0.0.0")
        assert (home / "passphrase").stat().st_mode & 0o077 == 0


def test_peers_are_dialled_by_name_and_none_dials_itself(made: Directory) -> None:
    names = [node.name for node in made.nodes]
    for index, node in enumerate(made.nodes):
        others = [name for name in names if name != node.name]
        direct = load_configuration(node.home / "node.toml", {}).network.peers
        linked = load_configuration(node.home / LINKED, {}).network.peers
        bases = [peer.partition("/p2p/")[0] for peer in direct]
        assert bases == [f"/dns4/{name}.p2p/tcp/7160" for name in others]
        ports = [link_port(index, names.index(name)) for name in others]
        assert [peer.partition("/p2p/")[0] for peer in linked] == [
            f"/dns4/links/tcp/{port}" for port in ports
        ]
        assert [p.partition("/p2p/")[2] for p in linked] == [p.partition("/p2p/")[2] for p in direct]


def test_no_two_links_share_a_port() -> None:
    ports = [link_port(*pair) for pair in permutations(range(NODES_MAX), 2)]
    assert len(set(ports)) == len(ports) and max(ports) < 32_768  # Linux picks from there for outgoing ones


def test_a_gateway_is_opened_where_only_its_own_key_is(made: Directory, tmp_path: Path) -> None:
    path = shutil.copytree(made.path, tmp_path / "net")
    for other in ("authority-1", "authority-2"):
        shutil.rmtree(path / other)
    (gateway,) = open_directory(path).gateways(["gateway-1"])
    assert gateway.http_url == "http://gateway-1:7100"
    with pytest.raises(NotATestnet, match="there are gateway-1"):
        made.gateways(["gateway-9"])


def test_empty_volumes_are_no_testnet_and_a_file_in_one_is_respected(tmp_path: Path) -> None:
    (tmp_path / "authority-1").mkdir()
    assert find_plan(tmp_path) is None
    (tmp_path / "authority-1" / "identity.key").touch()
    with pytest.raises(NotATestnet, match="remove what is in it"):
        find_plan(tmp_path)


def test_the_command_makes_it_once_and_finds_it_again(tmp_path: Path) -> None:
    wanted = ["testnet", "init", f"--dir={tmp_path / 'net'}", "--authorities=1", "--gateways=1"]
    first, again = (CliRunner().invoke(main, wanted) for _ in range(2))
    assert first.exit_code == again.exit_code == 0, first.output
    assert "made in" in first.output and "is there already" in again.output
    assert first.output.split()[1] == again.output.split()[1]
    other = CliRunner().invoke(main, [*wanted, "--p2p-host={name}.p2p"])
    assert other.exit_code == 1 and "holds another testnet" in other.output


def test_a_testnet_of_hosts_is_not_started_as_processes(made: Directory) -> None:
    from p2pledger.testnet.up import Options, opened

    options = Options(None, None, made.path, "none", 1.0, None, is_json=False)
    with pytest.raises(NotATestnet, match="a host each"), opened(options, Console(quiet=True)):
        pass
