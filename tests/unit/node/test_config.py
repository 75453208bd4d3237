"""A configuration is taken whole or refused with every fault, each with its cure."""

from pathlib import Path

import pytest
from p2pledger.node.config import (
    AdminSection,
    Configuration,
    ConfigurationError,
    LogFormat,
    Role,
    load_configuration,
)

PEER = "12D3KooWGzxzKZYveHXtpG6AsrUJBcWxHBFS2HsEoGTxrMLvKXtf"
AUTHORITY = """
[node]
data_dir = "data"
guard_dir = "guard"
genesis = "genesis.json"
role = "authority"

[keys]
identity = "identity.key"
consensus = "consensus.key"
passphrase_file = "passphrase"

[network]
listen = "/ip4/127.0.0.1/tcp/7160"
peers = ["/ip4/127.0.0.1/tcp/7161/p2p/PEER"]
""".replace("PEER", PEER)


@pytest.fixture
def home(tmp_path: Path) -> Path:
    for name in ("genesis.json", "identity.key", "consensus.key"):
        (tmp_path / name).write_text("{}")
    (tmp_path / "passphrase").write_text("open sesame\n")
    (tmp_path / "passphrase").chmod(0o600)
    return tmp_path


def load(home: Path, text: str, environment: dict[str, str] | None = None) -> Configuration:
    (home / "node.toml").write_text(text)
    return load_configuration(home / "node.toml", environment or {})


def faults(home: Path, text: str, environment: dict[str, str] | None = None) -> tuple[str, ...]:
    with pytest.raises(ConfigurationError) as refused:
        load(home, text, environment)
    return refused.value.faults


def test_a_node_is_called_as_its_home_unless_it_has_a_name(home: Path) -> None:
    assert load(home, AUTHORITY).node.called == home.name
    assert load(home, AUTHORITY, {"P2PLEDGER_NODE_NAME": "authority-1"}).node.called == "authority-1"
    (fault,) = faults(home, AUTHORITY.replace("[node]", '[node]\nname = "two words"'))
    assert fault.startswith("node.name: write up to 253 letters")


def test_relative_paths_start_at_the_file_and_the_rest_has_defaults(home: Path) -> None:
    configuration = load(home, AUTHORITY)
    assert configuration.node.role is Role.AUTHORITY
    assert configuration.node.data_dir == home / "data"
    assert configuration.keys.consensus == home / "consensus.key"
    assert configuration.keys.passphrase == b"open sesame"
    assert configuration.network.peers == (f"/ip4/127.0.0.1/tcp/7161/p2p/{PEER}",)
    assert (configuration.api.host, configuration.log.format) == ("127.0.0.1", LogFormat.JSON)


def test_a_clock_is_put_wrong_by_a_year_at_most(home: Path) -> None:
    assert load(home, AUTHORITY).node.clock_offset_ms == 0
    for text, offset_ms in (("-2000", -2_000), ("31622400000", 31_622_400_000)):
        environment = {"P2PLEDGER_NODE_CLOCK_OFFSET_MS": text}
        assert load(home, AUTHORITY, environment).node.clock_offset_ms == offset_ms
    for text in ("-31622400001", "31622400001", "soon", "1.5"):
        (fault,) = faults(home, AUTHORITY, {"P2PLEDGER_NODE_CLOCK_OFFSET_MS": text})
        assert "from -31622400000 to 31622400000" in fault


def test_the_environment_stands_over_the_file(home: Path) -> None:
    configuration = load(
        home,
        AUTHORITY + "[api]\nport = 1\n",
        {
            "P2PLEDGER_API_PORT": "8443",
            "P2PLEDGER_LOG_FORMAT": "console",
            "P2PLEDGER_NETWORK_ALLOW_PEERS": f"{PEER}, {PEER[:-1]}G",
            "P2PLEDGER_NETWORK_PEERS": "",
            "P2PLEDGER_KEYS_PASSPHRASE": "from the environment",
            "PATH": "/bin",
        },
    )
    assert configuration.api.port == 8443
    assert configuration.log.format is LogFormat.CONSOLE
    assert configuration.network.allow_peers == (PEER, PEER[:-1] + "G")
    assert configuration.network.peers == ()
    assert configuration.keys.passphrase == b"from the environment"


@pytest.mark.parametrize(("text", "value"), [("true", True), ("false", False)])
def test_a_switch_is_true_or_false_in_the_file_and_in_the_environment(home: Path, text, value) -> None:
    assert load(home, AUTHORITY).metrics.by_task is False
    assert load(home, AUTHORITY + f"[metrics]\nby_task = {text}\n").metrics.by_task is value
    assert load(home, AUTHORITY, {"P2PLEDGER_METRICS_BY_TASK": text}).metrics.by_task is value


def test_backups_are_served_nowhere_unless_a_port_is_named(home: Path) -> None:
    assert load(home, AUTHORITY).admin == AdminSection("127.0.0.1", None)
    assert load(home, AUTHORITY + "[admin]\nport = 7190\n").admin == AdminSection("127.0.0.1", 7190)
    environment = {"P2PLEDGER_ADMIN_HOST": "0.0.0.0", "P2PLEDGER_ADMIN_PORT": "7190"}
    assert load(home, AUTHORITY, environment).admin == AdminSection("0.0.0.0", 7190)


def test_the_passphrase_is_not_shown(home: Path) -> None:
    assert "sesame" not in repr(load(home, AUTHORITY))


@pytest.mark.parametrize(
    ("text", "key", "cure"),
    [
        ("[api]\nprot = 1", "api.prot", "did you mean api.port"),
        ("[apis]\nport = 1", "apis", "did you mean api"),
        ("[api]\nport = 70000", "api.port", "from 0 to 65535"),
        ("[api]\nport = '1'", "api.port", "whole number"),
        ("[api]\nport = true", "api.port", "whole number"),
        ("[api]\nport = 9\n[metrics]\nport = 9", "metrics.port", "choose another"),
        ("[api]\nport = 9\n[admin]\nport = 9", "admin.port", "choose another"),
        ("[admin]\nport = 7130", "admin.port", "choose another"),
        ("[api]\ndrain_ms = 60001", "api.drain_ms", "from 0 to 60000"),
        ("[metrics]\nby_task = 1", "metrics.by_task", "true or false"),
        ("[metrics]\nby_task = 'yes'", "metrics.by_task", "true or false"),
        ("[log]\nlevel = 'loud'", "log.level", "'warning'"),
        ("[log]\nformat = 'xml'", "log.format", "'console'"),
        ("[mempool]\nbytes_max = 1", "mempool.bytes_max", "from 1048576"),
        ("[storage]\nbodies_kept_blocks = 9", "storage.bodies_kept_blocks", "keeps all bodies"),
        ('[traces]\nendpoint = "collector:4318"', "traces.endpoint", "http://127.0.0.1:4318/v1/traces"),
        ("[traces]\none_in = 0", "traces.one_in", "a whole number from 1"),
    ],
)
def test_a_fault_names_its_key_and_the_cure(home: Path, text: str, key: str, cure: str) -> None:
    (fault,) = faults(home, AUTHORITY + text)
    assert fault.startswith(key + ":")
    assert cure in fault


@pytest.mark.parametrize(
    ("old", "new", "key", "cure"),
    [
        ('role = "authority"', 'role = "boss"', "node.role", "'gateway'"),
        ('role = "authority"', "", "node.role", "P2PLEDGER_NODE_ROLE"),
        ('role = "authority"', 'role = "gateway"', "keys.consensus", "does not vote"),
        ('guard_dir = "guard"', "", "node.guard_dir", "directory of its own"),
        ('guard_dir = "guard"', 'guard_dir = "data/guard"', "node.guard_dir", "choose another"),
        ('consensus = "consensus.key"', "", "keys.consensus", "votes with it"),
        ('consensus = "consensus.key"', 'consensus = "none.key"', "keys.consensus", "there is no file"),
        ('consensus = "consensus.key"', 'consensus = "identity.key"', "keys", "share a file"),
        ('passphrase_file = "passphrase"', "", "keys.passphrase_file", "P2PLEDGER_KEYS_PASSPHRASE"),
        ('passphrase_file = "passphrase"', 'passphrase = "x"', "keys.passphrase", "passphrase_file"),
        ("/ip4/127.0.0.1/tcp/7160", "/ip4/127.0.0.1/udp/7160", "network.listen", "TCP multiaddr"),
        ("/ip4/127.0.0.1/tcp/7160", "/ip4/127.0.0.256/tcp/7160", "network.listen", "of kind ip4"),
        (f"/p2p/{PEER}", "", "network.peers", "/p2p/"),
        (f"/p2p/{PEER}", "/p2p/0OIl", "network.peers", "/p2p/"),
    ],
)
def test_a_spoilt_key_is_named_with_the_cure(home: Path, old: str, new: str, key: str, cure: str) -> None:
    assert old in AUTHORITY
    (fault,) = faults(home, AUTHORITY.replace(old, new))
    assert fault.startswith(key + ":")
    assert cure in fault


def test_an_unknown_variable_is_refused(home: Path) -> None:
    (fault,) = faults(home, AUTHORITY, {"P2PLEDGER_API_PROT": "1"})
    assert fault.startswith("P2PLEDGER_API_PROT:")
    assert "P2PLEDGER_API_PORT" in fault


def test_a_variable_that_is_no_number_is_refused_like_a_key(home: Path) -> None:
    (fault,) = faults(home, AUTHORITY, {"P2PLEDGER_API_PORT": "eighty"})
    assert fault.startswith("api.port:")


def test_all_faults_are_told_at_once(home: Path) -> None:
    found = faults(home, AUTHORITY.replace("genesis.json", "none") + "[api]\nport = -1\n[cpu]\ncores = 2")
    assert [fault.split(":")[0] for fault in found] == ["cpu", "node.genesis", "api.port"]


def test_a_passphrase_that_others_can_read_is_refused(home: Path) -> None:
    (home / "passphrase").chmod(0o644)
    (fault,) = faults(home, AUTHORITY)
    assert "chmod 600" in fault


def test_what_is_no_toml_and_what_is_not_there(home: Path) -> None:
    (fault,) = faults(home, "[node\n")
    assert "not TOML" in fault
    with pytest.raises(ConfigurationError, match="--config"):
        load_configuration(home / "none.toml", {})
