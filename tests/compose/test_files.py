"""The form of the compose files: what `make test` can know of them without an engine."""

import re
import subprocess
import sys
import tomllib
from itertools import chain
from pathlib import Path
from typing import Any

import pytest
import yaml
from p2pledger.allocator import PACKAGE, variables
from p2pledger.monitoring.alerts import Severity, alerts
from p2pledger.testnet.compose import table
from p2pledger.testnet.compose.engine import PROFILES, Container, load_variables
from p2pledger.testnet.hosts import API_PORT, METRICS_PORT, P2P_PORT

ROOT = Path(__file__).resolve().parents[2]
TESTNET = ROOT / "testnet"
COMPOSE: dict[str, Any] = yaml.safe_load((TESTNET / "docker-compose.yml").read_text())
SERVICES: dict[str, dict[str, Any]] = COMPOSE["services"]
DEFAULTS = dict(
    line.split("=", 1)
    for line in (TESTNET / ".env").read_text().splitlines()
    if line and not line.startswith("#")
)
PUBLISHED = {"prometheus": 9090, "alertmanager": 9093, "grafana": 3000}
OURS = sorted(SERVICES.keys() - PUBLISHED.keys())


def test_services_are_those_that_the_command_knows() -> None:
    assert set(SERVICES) == {"init", "prometheus", *PROFILES, *table.NODES}
    assert {name: service["profiles"] for name, service in SERVICES.items() if "profiles" in service} == {
        name: [profile] for name, profile in PROFILES.items()
    }


def test_it_has_no_key_that_one_of_both_composes_does_not_know() -> None:
    # Compose v2 calls `version` obsolete, and 1.29 without it takes what v2 takes; `name` it does not know.
    assert not {"version", "name", "include"} & COMPOSE.keys()
    assert not {"deploy", "develop", "attach"} & set(chain.from_iterable(SERVICES.values()))


@pytest.mark.parametrize("name", sorted(SERVICES))
def test_a_container_is_confined_and_limited(name: str) -> None:
    service = SERVICES[name]
    assert service["read_only"] is True and service["cap_drop"] == ["ALL"]
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert not {"privileged", "cap_add", "devices", "user", "pid", "ipc"} & service.keys()
    assert service["mem_limit"] and service["cpus"] and service["pids_limit"]
    assert service["logging"]["options"] == {"max-size": "10m", "max-file": "3"}
    assert service.get("restart") == (None if name == "init" else "unless-stopped")
    assert not [mount for mount in service.get("volumes", ()) if "docker.sock" in mount]


@pytest.mark.parametrize("name", sorted(SERVICES))
def test_ports_are_for_this_machine_only(name: str) -> None:
    assert all(port.startswith("127.0.0.1:") for port in SERVICES[name].get("ports", ()))


@pytest.mark.parametrize("name", table.NODES)
def test_a_node_is_published_where_the_table_says(name: str) -> None:
    published = [port.rsplit(":", 1) for port in SERVICES[name]["ports"]]
    assert published == [
        [table.api_url(name).removeprefix("http://"), str(API_PORT)],
        [table.metrics_url(name).removeprefix("http://").removesuffix("/metrics"), str(METRICS_PORT)],
    ]


@pytest.mark.parametrize("name", sorted(PUBLISHED))
def test_what_else_can_be_looked_at_is_where_the_table_says(name: str) -> None:
    variable, port = table.SERVICES[name]
    assert SERVICES[name]["ports"] == [f"127.0.0.1:${{{variable}:-{port}}}:{PUBLISHED[name]}"]


@pytest.mark.parametrize("name", table.NODES)
def test_a_node_sees_its_own_home_and_is_dialled_by_a_name_of_its_own(name: str) -> None:
    service = SERVICES[name]
    assert service["volumes"] == [f"{name}:/net/{name}"]
    assert service["networks"] == {"front": {}, "p2p": {"aliases": [f"{name}.p2p"]}}
    assert f"{name}:/net/{name}" in SERVICES["init"]["volumes"]
    waits = {"init": "service_completed_successfully"}
    if name in table.GATEWAYS:
        waits |= dict.fromkeys(table.AUTHORITIES, "service_healthy")
    assert {other: how["condition"] for other, how in service["depends_on"].items()} == waits


def test_what_the_load_was_told_is_read_from_its_command() -> None:
    written = SERVICES["load"]["command"]
    told = [re.sub(r"\$\{\w+:-(\w+)\}", r"\1", word) for word in written]
    load = Container("id", "load", "exited", "", frozenset(), tuple(told))
    assert load_variables({"load": load}) == {"TESTNET_RATE": "20", "TESTNET_REPLAY": "all"}
    assert all(f"${{{name}:-" in " ".join(written) for name in load_variables({"load": load}))


def test_peers_have_a_network_without_a_way_out() -> None:
    assert COMPOSE["networks"] == {"front": {}, "p2p": {"internal": True}}
    assert SERVICES["init"]["network_mode"] == "none"


def test_every_named_volume_is_declared_and_used() -> None:
    mounts = chain.from_iterable(service.get("volumes", ()) for service in SERVICES.values())
    sources = {mount.split(":")[0] for mount in mounts}
    assert {source for source in sources if not source.startswith(".")} == COMPOSE["volumes"].keys()
    for source in sources:
        if source.startswith("./"):
            assert (TESTNET / source).exists(), source


def test_every_image_is_listed_and_names_a_version() -> None:
    """A tag, which its publisher may move: docs/decisions/compose.md says where a digest is due."""
    written = re.findall(r"\$\{(TESTNET_\w+_IMAGE):-([^}]+)\}", (TESTNET / "docker-compose.yml").read_text())
    assert len(written) == 4 and dict(written).items() <= DEFAULTS.items()
    assert all(re.search(r":v?\d+\.\d+", image) for _, image in written)
    dockerfile = (ROOT / "Dockerfile").read_text()
    assert f"ARG PYTHON_IMAGE={DEFAULTS['TESTNET_PYTHON_IMAGE']}\n" in dockerfile
    assert {SERVICES[name]["image"] for name in OURS} == {"p2pledger:testnet"}
    assert DEFAULTS["COMPOSE_PROFILES"] == "grafana"


def test_the_image_drops_root_and_every_tool_of_the_builder() -> None:
    stages = re.split(r"^FROM ", (ROOT / "Dockerfile").read_text(), flags=re.MULTILINE)[1:]
    builder, node, testnet, last = stages
    assert "gcc" in builder and not any(
        re.search(r"\b(gcc|-dev|pip)\b", s.split("HEALTHCHECK")[0]) for s in (testnet, last)
    )
    assert "gcc" not in node and "libgmp10" in node and "HEALTHCHECK" in node
    assert PACKAGE in node
    for name, value in variables("libjemalloc.so.2").items():
        assert f"{name}={value}" in node
    assert [stage.rfind("USER 10001:10001") > stage.rfind("USER 0") for stage in (node, testnet)] == [
        True,
        True,
    ]
    assert last.startswith("node") and "USER" not in last
    for name in table.NODES:
        assert name in testnet


@pytest.mark.parametrize("extras", ["", "traces", "traces,"])
def test_extras_are_installed_where_they_are_named(tmp_path: Path, extras: str) -> None:
    """The builder's own steps, with a pip that writes down what it is told."""
    builder = (ROOT / "Dockerfile").read_text().partition("# --- what runs")[0].replace("\\\n", "")
    assert re.search(r'^ARG EXTRAS=""$', builder, re.MULTILINE)
    steps = re.findall(r"^RUN (.*\.txt.*)$", builder, re.MULTILINE)
    (tmp_path / "pyproject.toml").write_text((ROOT / "pyproject.toml").read_text())
    (tmp_path / "python").write_text(
        f'#!/bin/sh\nif [ "$1" = -m ]; then eval cat \\"\\$$#\\"; else exec {sys.executable} "$@"; fi\n'
    )
    (tmp_path / "python").chmod(0o755)
    environment = {"PATH": f"{tmp_path}:/usr/bin:/bin", "EXTRAS": extras}
    installed = [
        subprocess.run(
            ["sh", "-c", step], cwd=tmp_path, env=environment, capture_output=True, text=True, check=True
        ).stdout.split("\n")[:-1]
        for step in steps
    ]
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    named = project["optional-dependencies"]["traces"] if extras else []
    assert installed == [project["dependencies"], named]


def test_nothing_goes_into_the_image_but_what_it_is_made_from() -> None:
    lines = [line for line in (ROOT / ".dockerignore").read_text().splitlines() if line and line[0] != "#"]
    assert lines[0] == "*"
    assert {line[1:] for line in lines if line[0] == "!"} == {
        "constraints.txt", "pyproject.toml", "README.md", "p2pledger", "testnet/data",
    }  # fmt: skip


def test_prometheus_scrapes_every_node_with_its_role() -> None:
    configuration = yaml.safe_load((TESTNET / "prometheus.yml").read_text())
    (job,) = configuration["scrape_configs"]
    assert job["job_name"] == "p2pledger"
    by_role = {group["labels"]["role"]: group["targets"] for group in job["static_configs"]}
    assert by_role == {
        "authority": [f"{name}:{METRICS_PORT}" for name in table.AUTHORITIES],
        "gateway": [f"{name}:{METRICS_PORT}" for name in table.GATEWAYS],
    }
    assert {group["labels"]["chain"] for group in job["static_configs"]} == {"testnet"}
    mounted = {mount.split(":")[1] for mount in SERVICES["prometheus"]["volumes"]}
    assert {str(Path(glob).parent) for glob in configuration["rule_files"]} <= mounted


def test_grafana_finds_prometheus_and_the_dashboards() -> None:
    provisioning = TESTNET / "grafana" / "provisioning"
    (source,) = yaml.safe_load((provisioning / "datasources" / "prometheus.yml").read_text())["datasources"]
    assert (source["uid"], source["url"]) == ("prometheus", "http://prometheus:9090")
    (provider,) = yaml.safe_load((provisioning / "dashboards" / "p2pledger.yml").read_text())["providers"]
    mounted = {mount.split(":")[1]: mount.split(":")[0] for mount in SERVICES["grafana"]["volumes"]}
    assert mounted[provider["options"]["path"]] == "../deploy/monitoring/dashboards"


def test_alertmanager_sends_to_a_receiver_that_is_there() -> None:
    configuration = yaml.safe_load((TESTNET / "alertmanager.yml").read_text())
    assert configuration["route"]["receiver"] in {one["name"] for one in configuration["receivers"]}


def test_what_nothing_final_mutes_is_what_follows_from_it() -> None:
    """Not who is down or does not vote: that is whom to mend."""
    (rule,) = yaml.safe_load((TESTNET / "alertmanager.yml").read_text())["inhibit_rules"]
    severities = {alert.name: alert.severity for alert in alerts()}
    sources, targets = (muted(rule[which]) for which in ("source_matchers", "target_matchers"))
    assert sources | targets <= set(severities) and rule["equal"] == ["chain"]
    assert sources == {"P2pledgerFinalityStalled", "P2pledgerQuorumLost"}
    assert {severities[name] for name in sources} == {Severity.CRITICAL}
    assert targets and {severities[name] for name in targets} == {Severity.WARNING}
    culprits = {"NodeDown", "AuthorityNotVoting", "AuthorityNotSigning", "Restarting", "AgreementTrouble"}
    assert not targets & {f"P2pledger{name}" for name in (*culprits, "PeersLow", "StoreFull", "ClockSkew")}


def muted(matchers: list[str]) -> set[str]:
    """The names that the one matcher of an inhibition has."""
    (matcher,) = matchers
    found = re.fullmatch(r'alertname=~"P2pledger\(([\w|]+)\)"', matcher)
    assert found is not None, matcher
    return {f"P2pledger{name}" for name in found[1].split("|")}


def test_no_secret_is_in_any_of_them() -> None:
    words = re.compile(r"(?i)(password|secret|token|passphrase)\s*[:=]\s*\S")
    for path in [*TESTNET.rglob("*.yml"), TESTNET / ".env", ROOT / "Dockerfile"]:
        assert not words.search(path.read_text()), path


def test_the_ports_of_links_are_for_peers() -> None:
    assert (
        SERVICES["links"]["networks"] == {"p2p": {"aliases": ["links"]}} and "ports" not in SERVICES["links"]
    )
    assert P2P_PORT not in (API_PORT, METRICS_PORT)


def test_the_command_runs_where_nothing_is_installed(tmp_path: Path) -> None:
    program = (
        "import sys; sys.argv[0] = 'x'; from p2pledger.testnet.compose.command import main; main(['--help'])"
    )
    done = subprocess.run(
        [sys.executable, "-S", "-E", "-c", f"import sys; sys.path.insert(0, {str(ROOT)!r}); {program}"],
        capture_output=True,
        text=True,
        cwd=tmp_path,
    )
    assert "up" in done.stdout, done.stderr
    for command in ("up", "status", "load", "fault", "logs", "stop", "resume", "reset"):
        assert re.search(rf"^ +{command} ", done.stdout, re.MULTILINE), command
