"""The image and the compose testnet on a real engine: built, started, broken in every way, stopped, resumed.

One testnet for all of it, in the order of the file: each test leaves it whole for the next one.
"""

import json
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml
from p2pledger.testnet.compose.engine import EngineError
from p2pledger.testnet.compose.table import AUTHORITIES, NODES
from tests.compose.net import (
    BUILD_S,
    PROJECT,
    ROOT,
    Net,
    copy_of_checkout,
    digest_of,
    genesis_of,
    height,
    height_of,
    query,
    rules,
    wait_for_agreement,
    wait_for_growth,
    wait_until,
    wait_until_nothing_becomes_final,
)

pytestmark = pytest.mark.campaign

IMAGE = "p2pledger:testnet"
HALVES = "authority-1,authority-2,gateway-1|authority-3,authority-4,gateway-2"
PINNED = next(
    line.partition("=")[2]
    for line in (ROOT / "testnet" / ".env").read_text().splitlines()
    if line.startswith("TESTNET_PROMETHEUS_IMAGE=")
)


@pytest.fixture(scope="module")
def net(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Net]:
    """A testnet from a fresh copy, started by plain compose; Prometheus' image is made if it is not here."""
    net = Net(copy_of_checkout(tmp_path_factory.mktemp("clone") / "p2pledger"))
    try:
        net.engine.docker("version")
    except EngineError as error:
        pytest.skip(
            f"no container engine answers ({error}); on Debian: apt-get install docker.io docker-compose"
        )
    net.testnet("reset")
    net.compose("build", "init", timeout_s=BUILD_S)
    if not net.engine.docker("images", "--quiet", PINNED):
        stand_in = str(net.checkout / "tests" / "compose" / "prometheus")
        subprocess.run(["docker", "build", "--quiet", "--tag", PINNED, stand_in], check=True, timeout=BUILD_S)
    try:
        net.compose("up", "--detach")
        yield net
    finally:
        net.testnet("reset")


def run_in_image(net: Net, *command: str, image: str = IMAGE) -> str:
    """What a command says in an image, confined as compose has it."""
    confined = ("--rm", "--read-only", "--cap-drop=ALL", "--network=none")
    return net.engine.docker("run", *confined, "--entrypoint", command[0], image, *command[1:])


def installed_in(net: Net, image: str) -> set[str]:
    """Packages but ours, as `name==version`."""
    program = (
        "import importlib.metadata as m;"
        "print(*(d.metadata['Name'].lower().replace('_', '-') + '==' + d.version for d in m.distributions()))"
    )
    found = run_in_image(net, "python", "-c", program, image=image).split()
    return {name.replace(".", "-") for name in found} - {"p2pledger==0-1-0"}


def locked() -> set[str]:
    """What the lock has, spelt alike."""
    lines = (ROOT / "constraints.txt").read_text().splitlines()
    return {line.split(" ;")[0].replace(".", "-") for line in lines}


def test_the_image_has_no_root_and_no_compiler(net: Net) -> None:
    (image,) = json.loads(net.engine.docker("image", "inspect", IMAGE))
    assert image["Config"]["User"] == "10001:10001"
    assert image["Config"]["Healthcheck"]["Test"] == ["CMD", "python", "-m", "p2pledger.healthcheck"]
    labels = {name.rpartition(".")[2]: text for name, text in image["Config"]["Labels"].items()}
    assert labels["title"] == "p2pledger" and labels["version"] == run_in_image(net, "p2pledger", "version")
    assert run_in_image(net, "id", "-u") == "10001"
    assert run_in_image(net, "sh", "-c", "command -v gcc cc c++ clang || true") == ""
    assert run_in_image(net, "sh", "-c", "ls /src /root/.cache 2>/dev/null || true") == ""
    size = image["Size"] - json.loads(net.engine.docker("image", "inspect", "python:3.11-slim"))[0]["Size"]
    print(f"\nthe image adds {size / 1e6:.0f} MB to its base")


def test_what_is_installed_is_what_the_lock_says(net: Net) -> None:
    installed = installed_in(net, IMAGE)
    assert len(installed) > 40 and installed <= locked()
    assert not [name for name in installed if name.startswith("opentelemetry-sdk")]


def test_an_image_that_is_to_send_traces_can(net: Net) -> None:
    image, given = f"{IMAGE}-traces", [f"--build-arg={name}" for name in net.variables]
    command = ["docker", "build", "--quiet", "--build-arg=EXTRAS=traces", *given, "--tag", image, "."]
    subprocess.run(command, cwd=net.checkout, env=net.environment, check=True, timeout=BUILD_S)
    try:
        run_in_image(net, "python", "-c", "import p2pledger.node.tracing", image=image)
        added = installed_in(net, image) - installed_in(net, IMAGE)
        assert any(name.startswith("opentelemetry-sdk==") for name in added) and added <= locked()
    finally:
        net.engine.docker("image", "rm", image)


def test_it_starts_in_order_and_becomes_final(net: Net) -> None:
    wait_until(
        lambda: all(net.containers()[name].health == "healthy" for name in NODES), "all nodes are healthy"
    )
    assert net.containers()["init"].state == "exited"
    assert "grafana" not in net.containers() and "load" not in net.containers()
    assert "load --stop" in net.testnet("load", "--rate", "15")
    wait_for_growth(*NODES)
    wait_for_agreement()
    wait_until(
        lambda: all(net.containers()[name].health == "healthy" for name in NODES), "all nodes are healthy"
    )
    table = net.testnet("status")
    assert table.count(" healthy ") == len(NODES) and "Try next:" in table


def test_a_node_has_no_key_of_another(net: Net) -> None:
    for name in NODES:
        _, found = net.engine.tell(net.containers()[name], "find", "/net", "-name", "*.key")
        assert {Path(key).parent for key in found.split()} == {Path("/net") / name}


def test_prometheus_scrapes_all_six(net: Net) -> None:
    wait_until(lambda: len(query('up{job="p2pledger"} == 1')) == len(NODES), "all targets are up")
    targets = {(s["metric"]["instance"], s["metric"]["role"], s["metric"]["chain"]) for s in query("up")}
    assert targets == {(name, name.partition("-")[0], "testnet") for name in NODES}
    wait_until(
        lambda: all(float(s["value"][1]) > 0 for s in query("p2pledger_chain_finalized_height")),
        "heights are there",
    )


def test_prometheus_evaluates_every_rule(net: Net) -> None:
    """Also that it has them: a glob over an empty mount is no error to it."""
    file = yaml.safe_load((ROOT / "deploy" / "monitoring" / "rules" / "p2pledger.yml").read_text())
    written = [
        (rule.get("record") or rule["alert"], "ok") for group in file["groups"] for rule in group["rules"]
    ]
    assert len(written) > 24
    wait_until(lambda: rules() == written, "every rule is there and evaluated")


def test_a_paused_authority_is_done_without_and_catches_up(net: Net) -> None:
    assert net.testnet("fault", "pause", "authority-2") == "paused authority-2\n"
    others = [name for name in NODES if name != "authority-2"]
    wait_for_growth(*others)
    assert height_of("authority-2") is None and " paused " in net.testnet("status", code=1)
    assert "is paused" in net.testnet("fault", "kill", "authority-2", code=1)
    assert net.testnet("fault", "resume", "authority-2") == "authority-2 goes on\n"
    wait_for_agreement()


def test_a_killed_authority_stays_dead_until_it_is_restarted(net: Net) -> None:
    net.testnet("fault", "kill", "authority-3")
    wait_for_growth("authority-1", "gateway-1")
    assert net.containers()["authority-3"].state == "exited"
    assert "`fault restart authority-3` starts it" in net.testnet("fault", "pause", "authority-3", code=1)
    assert net.testnet("fault", "restart", "authority-3") == "started authority-3 again\n"
    wait_for_growth("authority-3")
    wait_for_agreement()


def test_a_gateway_is_killed_for_a_while(net: Net) -> None:
    said = net.testnet("fault", "kill", "gateway-2", "--for", "2")
    assert said == "killed gateway-2, for 2 s\nstarted gateway-2 again\n"
    wait_for_growth("gateway-2")


def test_a_disconnected_authority_answers_and_hears_nothing(net: Net) -> None:
    net.testnet("fault", "disconnect", "authority-4")
    wait_for_growth("authority-1", "authority-2", "authority-3")
    stands = height("authority-4")
    wait_for_growth("authority-1")
    assert height("authority-4") == stands < height("authority-1")
    assert "cut off already" in net.testnet("fault", "disconnect", "authority-4", code=1)
    assert net.testnet("fault", "heal") == "healed: one network again\n"
    wait_for_agreement()


def test_in_a_partition_nothing_becomes_final_and_nothing_is_lost(net: Net) -> None:
    net.testnet("fault", "partition", HALVES)
    wait_until_nothing_becomes_final()
    net.testnet("fault", "heal")
    wait_for_growth(*NODES)
    wait_for_agreement()
    assert not [network for network in net.engine.networks() if "side" in network]


def test_without_links_what_needs_them_is_refused_with_the_cure(net: Net) -> None:
    assert "`testnet/testnet up --faults`" in net.testnet("fault", "delay", "--ms", "50", code=1)
    assert "`p2pledger testnet up --faults`" in net.testnet("fault", "twin", "authority-1", code=1)
    assert "there are authority-1" in net.testnet("fault", "kill", "authority-9", code=1)


def test_stopped_and_resumed_it_goes_on_with_the_same_chain(net: Net) -> None:
    genesis, stood = genesis_of("gateway-1"), height("gateway-1")
    digest = digest_of("gateway-1", stood)
    assert "the chain stays" in net.testnet("stop")
    assert not [name for name in NODES if net.containers()[name].is_running]
    assert "Try next:" in net.testnet("resume")
    assert {json.dumps(genesis_of(name), sort_keys=True) for name in NODES} == {
        json.dumps(genesis, sort_keys=True)
    }
    assert {digest_of(name, stood) for name in NODES} == {digest}
    assert "--rate=15" in net.containers()["load"].command
    wait_for_growth(*NODES)


def test_resume_wakes_who_is_paused(net: Net) -> None:
    net.testnet("fault", "pause", "authority-4")
    assert net.testnet("resume").count(" healthy ") == len(NODES)


def test_behind_links_the_same_chain_is_delayed_loses_and_parts(net: Net) -> None:
    genesis = genesis_of("gateway-1")
    net.testnet("up", "--faults", "--without-grafana")
    assert genesis_of("gateway-1") == genesis
    wait_for_growth(*NODES)
    said = net.testnet("fault", "delay", "--ms", "60", "--jitter", "10")
    assert said == "all links take 60 to 70 ms longer each way\n"
    wait_for_growth(*AUTHORITIES)
    assert "lose 2 %" in net.testnet("fault", "loss", "authority-2", "--percent", "2")
    wait_for_growth(*AUTHORITIES)
    assert "all links are calm" in net.testnet("fault", "heal")
    net.testnet("fault", "partition", HALVES, "--silent")
    wait_until_nothing_becomes_final()
    net.testnet("fault", "heal")
    wait_for_growth(*NODES)
    net.testnet("fault", "disconnect", "authority-1", "--for", "3")
    wait_for_growth("authority-1")
    wait_for_agreement()


def test_reset_leaves_nothing_but_the_image(net: Net) -> None:
    assert "stopped" in net.testnet("load", "--stop")
    assert "removed" in net.testnet("reset")
    assert net.containers() == {}
    assert not [name for name in net.engine.networks() if name.startswith(PROJECT)]
    label = f"label=com.docker.compose.project={PROJECT}"
    assert net.engine.docker("volume", "ls", "--quiet", "--filter", label) == ""
    assert "`testnet/testnet up` makes one" in net.testnet("status", code=1)
