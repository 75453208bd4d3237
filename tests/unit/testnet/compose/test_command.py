"""The commands around a compose testnet: what they tell the engine, and what they say when they cannot."""

import os
import re
import subprocess
from dataclasses import replace
from pathlib import Path

import pytest
from p2pledger.testnet.compose import command, engine, table
from p2pledger.testnet.compose.engine import Engine, EngineError, container_of
from p2pledger.testnet.compose.table import Standing, endpoints, standings
from tests.unit.testnet.compose.scripted import P2P, ScriptedEngine, container, whole

ROOT = Path(__file__).resolve().parents[4]


def told(
    engine: ScriptedEngine, monkeypatch: pytest.MonkeyPatch, *arguments: str, code: int = 0
) -> list[str]:
    """What the engine is told when a command is given."""
    monkeypatch.setattr(command, "Engine", lambda root: engine)
    assert command.main(arguments) == code
    return engine.told


@pytest.fixture(autouse=True)
def _nobody_answers(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nodes have no ports here: a testnet of somebody else's may be up on them."""
    monkeypatch.setattr(table, "height_of", lambda name: 1_234)


def test_up_builds_once_and_starts_what_is_wanted(monkeypatch: pytest.MonkeyPatch, capsys) -> None:
    assert told(ScriptedEngine(whole()), monkeypatch, "up", "--alerts") == [
        "compose[all] build init",
        "compose[alerts,grafana] up --detach --no-build",
    ]
    said = capsys.readouterr().out
    assert "http://127.0.0.1:7010 " in said and "1,234" in said and "Try next:" in said


def test_up_takes_away_what_is_not_wanted_any_more(monkeypatch: pytest.MonkeyPatch) -> None:
    engine = ScriptedEngine(whole(links="running", load="running", grafana="created"))
    assert told(engine, monkeypatch, "up", "--without-grafana") == [
        "compose[all] build init",
        "compose[all] rm --stop --force grafana",
        "compose[all] rm --stop --force links",
        "compose[load] up --detach --no-build",
    ]


def test_resume_starts_what_was_there_and_nothing_else(monkeypatch: pytest.MonkeyPatch) -> None:
    engine = ScriptedEngine(whole(links="exited", alertmanager="exited"))
    assert told(engine, monkeypatch, "resume") == ["compose[alerts,faults] up --detach --no-build"]


def test_stop_wakes_who_is_paused(monkeypatch: pytest.MonkeyPatch) -> None:
    engine = ScriptedEngine(whole(authority_2="paused"))
    assert told(engine, monkeypatch, "stop") == ["unpause AUTHORITY-2", "compose[] stop"]


@pytest.mark.parametrize("name", ["up", "resume"])
def test_who_is_paused_is_woken_and_is_well_before_others_that_depend_on_it_are_started(
    monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.setattr(command, "HEALTHY_S", 0)
    said = told(ScriptedEngine(whole(authority_2="paused", links="running")), monkeypatch, name)
    assert said[0] == "unpause AUTHORITY-2"
    assert [line.partition("] ")[2] for line in said if "] up" in line] == [
        "up --detach --no-build authority-1 authority-2 authority-3 authority-4"
        + (" links" if name == "resume" else ""),
        "up --detach --no-build",
    ]
    said = told(ScriptedEngine(whole(gateway_1="paused")), monkeypatch, name)
    assert [line.partition("] ")[2] for line in said if "] up" in line] == [
        "up --detach --no-build gateway-1 gateway-2",
        "up --detach --no-build",
    ]


def test_authorities_that_do_not_get_well_are_named(monkeypatch: pytest.MonkeyPatch, capsys) -> None:
    monkeypatch.setattr(command, "HEALTHY_S", 0)
    engine = ScriptedEngine(whole(authority_2="exited", authority_3="exited"))
    engine.found["authority-1"] = replace(engine.found["authority-1"], health="unhealthy")
    told(engine, monkeypatch, "resume", code=1)
    assert "not in sync after 0 s: authority-2, authority-3;" in capsys.readouterr().err


def test_reset_mends_the_networks_first(monkeypatch: pytest.MonkeyPatch) -> None:
    engine = ScriptedEngine(whole(), (P2P, "net_side-1"))
    assert told(engine, monkeypatch, "reset") == [
        "network rm net_side-1",
        "compose[all] down --volumes --remove-orphans",
    ]


def test_load_is_started_and_ended(monkeypatch: pytest.MonkeyPatch, capsys) -> None:
    assert told(ScriptedEngine(whole()), monkeypatch, "load", "--rate", "5") == [
        "compose[load] up --detach --no-build --no-deps load < all 5"
    ]
    told(ScriptedEngine(whole()), monkeypatch, "load", "--rate", "0", code=1)
    told(ScriptedEngine(whole()), monkeypatch, "load", "--stop", code=1)
    said = capsys.readouterr().err
    assert "--rate is from 0.1 to 10000" in said and "`testnet/testnet load` starts one" in said


@pytest.mark.parametrize("arguments", [("up", "--load"), ("up",), ("stop",), ("resume",)])
def test_the_load_stays_as_it_was_chosen(monkeypatch: pytest.MonkeyPatch, arguments: tuple[str, ...]) -> None:
    chosen = ("testnet", "load", "--dir=/net", "--gateway=gateway-1", "--replay=ride", "--rate=100")
    engine = ScriptedEngine(whole() | {"load": container("load", command=chosen)})
    assert told(engine, monkeypatch, *arguments)[-1].endswith(" < ride 100")
    engine = ScriptedEngine(whole() | {"load": container("load", command=chosen)})
    assert told(engine, monkeypatch, "load", "--rate", "7")[-1].endswith(" < all 7")


@pytest.mark.parametrize("name", ["status", "load", "logs", "stop", "resume"])
def test_without_a_testnet_the_cure_is_named(monkeypatch: pytest.MonkeyPatch, capsys, name: str) -> None:
    assert told(ScriptedEngine({}), monkeypatch, name, code=1) == []
    assert "`testnet/testnet up` makes one" in capsys.readouterr().err


def test_a_fault_for_a_while_is_undone(monkeypatch: pytest.MonkeyPatch, capsys) -> None:
    engine = ScriptedEngine(whole())
    assert told(engine, monkeypatch, "fault", "pause", "authority-1,authority-2", "--for", "0.01") == [
        "pause AUTHORITY-1 AUTHORITY-2",
        "unpause AUTHORITY-1 AUTHORITY-2",
    ]
    assert capsys.readouterr().out == (
        "paused authority-1, authority-2, for 0.01 s\nauthority-1, authority-2 go on\n"
    )


def test_the_table_tells_how_each_node_is() -> None:
    found = whole(authority_1="paused") | {"prometheus": container("prometheus")}
    found["authority-2"] = container("authority-2", networks=("net_front",))
    found["authority-3"] = container("authority-3", networks=("net_front", "net_side-1"))
    del found["authority-4"]
    states = standings(found, P2P)
    assert states[:5] == [
        Standing("authority-1", "paused", None),
        Standing("authority-2", "disconnected", 1_234),
        Standing("authority-3", "in side-1", 1_234),
        Standing("authority-4", "not made", None),
        Standing("gateway-1", "healthy", 1_234),
    ]
    lines = endpoints(states, found, {}).splitlines()
    assert lines[7].split() == ["prometheus", "running", "http://127.0.0.1:9090"]
    assert max(map(len, lines)) <= 100


def test_a_port_that_is_moved_is_told_where_it_is(tmp_path: Path) -> None:
    (tmp_path / "testnet").mkdir()
    (tmp_path / "testnet" / ".env").write_text("TESTNET_PROMETHEUS_PORT=9190\nTESTNET_GRAFANA_PORT=3100\n")
    found = whole() | {name: container(name) for name in table.SERVICES}
    engine = Engine(tmp_path, {"TESTNET_GRAFANA_PORT": "3200"})
    said = endpoints(standings(found, P2P), found, engine.variables)
    ports = dict(re.findall(r"^(prometheus|alertmanager|grafana) .*:(\d+)$", said, re.MULTILINE))
    assert ports == {"prometheus": "9190", "alertmanager": "9093", "grafana": "3200"}


def test_a_project_that_is_named_in_the_file_is_the_one_that_is_meant(tmp_path: Path) -> None:
    (tmp_path / "testnet").mkdir()
    (tmp_path / "testnet" / ".env").write_text("COMPOSE_PROJECT_NAME=other\n")
    assert Engine(tmp_path, {}).p2p == "other_p2p"
    assert Engine(tmp_path, {"COMPOSE_PROJECT_NAME": "mine"}).p2p == "mine_p2p"
    assert Engine(tmp_path / "testnet", {}).p2p == "testnet_p2p"


def test_an_inspection_is_read() -> None:
    description = {
        "Id": "abc",
        "State": {"Status": "running", "Health": {"Status": "starting"}},
        "Config": {"Cmd": ["node", "--config"], "Labels": {"com.docker.compose.service": "gateway-1"}},
        "NetworkSettings": {"Networks": {"net_front": {}, "net_p2p": {}}},
    }
    found = container_of(description)
    assert (found.service, found.health, found.is_running) == ("gateway-1", "starting", True)
    assert found.networks == {"net_front", "net_p2p"} and found.command == ("node", "--config")
    description["Config"] = {"Cmd": None, "Labels": {"com.docker.compose.service": "prometheus"}}
    assert container_of(description).command == ()


def test_without_an_engine_the_cure_is_named(tmp_path: Path) -> None:
    with pytest.raises(EngineError, match="apt-get install docker"):
        Engine(ROOT, {"PATH": str(tmp_path)}).containers()


def test_an_engine_that_fails_is_quoted(tmp_path: Path) -> None:
    (tmp_path / "docker").write_text("#!/bin/sh\necho 'no daemon' >&2\nexit 1\n")
    (tmp_path / "docker").chmod(0o755)
    with pytest.raises(EngineError, match="`docker ps` failed: no daemon"):
        Engine(ROOT, {"PATH": str(tmp_path)}).containers()


@pytest.mark.parametrize("ask", [Engine.networks, lambda engine: engine.tell(container("links"), "true")])
def test_an_engine_that_hangs_is_given_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, ask) -> None:
    (tmp_path / "docker").write_text("#!/bin/sh\nexec /bin/sleep 600\n")
    (tmp_path / "docker").chmod(0o755)
    monkeypatch.setattr(engine, "COMMAND_S", 0.1)
    with pytest.raises(EngineError, match=r"did not answer `docker (network|exec)` within"):
        ask(Engine(ROOT, {"PATH": str(tmp_path)}))


def test_the_script_names_what_it_lacks(tmp_path: Path) -> None:
    (tmp_path / "dirname").symlink_to("/usr/bin/dirname")
    environment = {"PATH": str(tmp_path), "PYTHON": "python2"}
    done = subprocess.run(
        ["/bin/sh", str(ROOT / "testnet" / "testnet"), "up"], capture_output=True, text=True, env=environment
    )
    assert done.returncode == 1 and "docker-compose -f testnet/docker-compose.yml up" in done.stderr
    assert os.access(ROOT / "testnet" / "testnet", os.X_OK)
