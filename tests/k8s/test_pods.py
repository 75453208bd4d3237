"""What the pods of the overlay `dev` run is run: rendered arguments, variables, volumes, modes; real nodes.

Four authorities, a gateway, and a gateway on an edge node, each confined as its template says. In the order
of the file: each test leaves the ledger whole for the next one.
"""

import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import yaml
from tests.k8s.pods import Cluster, Pod
from tests.k8s.tools import ROOT, Rendered, containers, documented, in_a_job

pytestmark = pytest.mark.campaign

READY_S = 120.0
AUTHORITIES = ["authority-1", "authority-2", "authority-3", "authority-4"]
EDGE_NODE = "edge-1"


@pytest.fixture(scope="module")
def cluster(
    rendered: Callable[[str], Rendered], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Cluster]:
    objects = rendered("edge")
    with Cluster(tmp_path_factory.mktemp("cluster"), objects) as cluster:
        cluster.objects.remove(objects.get("ConfigMap", "first-start"))  # it is not there yet
        for name in AUTHORITIES:
            cluster.add(name, objects.get("StatefulSet", "authority"))
        cluster.add("gateway-1", objects.get("StatefulSet", "gateway"))
        # The edge node's gateway has the keys of the second one of the genesis file, which is not started.
        (keys,) = [one for one in objects.of("Secret") if one["metadata"]["name"].startswith("gateway-2-")]
        cluster.objects.append(keys | {"metadata": {"name": "edge-1"}})
        cluster.add("edge-abcde", objects.get("DaemonSet", "edge"), node_name=EDGE_NODE)
        cluster.add("backup-abcde", objects.get("CronJob", "backup"))
        yield cluster


@pytest.fixture
def nodes(cluster: Cluster) -> list[Pod]:
    return [pod for name, pod in cluster.pods.items() if not name.startswith(("backup", "restore"))]


@pytest.fixture
def authorities(cluster: Cluster) -> list[Pod]:
    return [cluster.pods[name] for name in AUTHORITIES]


def wait_until_ready(cluster: Cluster, *pods: Pod) -> None:
    for pod in pods:
        with cluster.patience(f"{pod.name} is ready", READY_S) as patience:
            while pod.probe("readiness") != 200:
                process = pod.processes["node"]
                assert process.poll() is None, (
                    f"{pod.name} ended by {process.returncode}: {pod.log()[-2_000:]}"
                )
                patience.again()


def height(cluster: Cluster, pod: Pod) -> int:
    return int(cluster.get(f"http://{pod.address}:7100/v1/status")["height"])


def load(cluster: Cluster, folder: Path, seconds: int) -> str:
    """Real data through gateway-1, by its name; what the command says."""
    options = ("--gateway", "gateway-1", "--replay", "water", "--rate", "20", "--duration", str(seconds))
    command = ("env", f"PYTHONPATH={ROOT}", sys.executable, "-m", "p2pledger", "testnet", "load")
    done = cluster.run(*command, "--dir", str(folder / "net"), *options, timeout_s=120)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_the_image_starts_what_the_arguments_are_for() -> None:
    lines = (ROOT / "Dockerfile").read_text().splitlines()
    assert 'ENTRYPOINT ["p2pledger"]' in lines and "USER 10001:10001" in lines


def test_without_a_permit_a_new_authority_waits(authorities: list[Pod]) -> None:
    code, said = authorities[0].run_init("guard")
    assert code == 1 and "first_start_not_permitted" in said
    assert not list((authorities[0].folder / "claims" / "guard").iterdir())


def test_a_permit_that_is_applied_makes_each_guard_once(
    cluster: Cluster, authorities: list[Pod], folders: dict[str, Path]
) -> None:
    cluster.objects.append(yaml.safe_load((folders["dev"] / "first-start.yaml").read_text()))
    for pod in authorities:
        assert pod.run_init("guard") == (0, "a guard was made for a key that has never signed\n")
    cluster.objects.pop()
    for pod in authorities:
        assert pod.run_init("guard") == (0, "the guard is there\n")


def test_nodes_that_start_before_names_resolve_find_each_other_once_they_do(
    cluster: Cluster, nodes: list[Pod], authorities: list[Pod]
) -> None:
    early = authorities[:2]
    for pod in early:
        pod.start("node")
    for pod in early:
        with cluster.patience(f"{pod.name} has started", READY_S) as patience:
            while pod.probe("startup") != 200:
                patience.again()
        assert (pod.probe("liveness"), pod.probe("readiness")) == (200, 503)
    cluster.resolve("p2p", "p2pledger")
    for pod in nodes:
        if pod not in early:
            pod.start("node")
    wait_until_ready(cluster, *nodes)


def test_each_pod_sees_its_own_keys_and_no_other(nodes: list[Pod]) -> None:
    for pod in nodes:
        (process,) = pod.processes.values()
        root = Path(f"/proc/{process.pid}/root")
        own = {
            "identity.key",
            "passphrase",
            "consensus.key" if pod.name in AUTHORITIES else "transaction.key",
        }
        assert {path.name for path in (root / "run" / "p2pledger" / "keys").iterdir()} == own
        assert not list((root / "run").rglob("authority-*")), "no folder of another pod"
        status = dict(
            line.split(":\t", 1) for line in Path(f"/proc/{process.pid}/status").read_text().splitlines()
        )
        assert status["Uid"].split() == ["10001"] * 4 and status["Gid"].split() == ["10001"] * 4
        assert int(status["CapEff"], 16) == 0


def test_what_is_handed_to_a_gateway_becomes_final_everywhere(
    cluster: Cluster, nodes: list[Pod], folders: dict[str, Path]
) -> None:
    print(load(cluster, folders["dev"], 5))
    aim = height(cluster, cluster.pods["gateway-1"])
    assert aim > 0
    for pod in nodes:
        with cluster.patience(f"{pod.name} has height {aim}", READY_S) as patience:
            while height(cluster, pod) < aim:
                patience.again()


def test_the_backup_job_fetches_the_chain_and_keeps_it_on_its_claim(cluster: Cluster) -> None:
    job, gateway = cluster.pods["backup-abcde"], cluster.pods["gateway-1"]
    code, said = job.run_init("backup")
    assert code == 0, said
    kept = job.folder / "claims" / "backups"
    (place,) = [manifest.parent for manifest in kept.glob("*/manifest.json")]
    assert f"/var/lib/p2pledger/backups/{place.name}" in said.splitlines()
    assert {path.name for path in place.iterdir()} == {"chain.db", "genesis.json", "manifest.json"}
    restored = kept / "restored"
    genesis = place / "genesis.json"
    words = ("restore", str(place), "--data-dir", str(restored), "--genesis", str(genesis))
    done = cluster.run("env", f"PYTHONPATH={ROOT}", sys.executable, "-m", "p2pledger", *words)
    assert done.returncode == 0 and f"{restored} holds testnet" in done.stdout, done.stdout + done.stderr
    assert gateway.probe("readiness") == 200


def test_a_gateway_is_restored_over_its_old_chain_by_the_pod_that_operators_are_told_of(
    cluster: Cluster,
) -> None:
    gateway = cluster.pods["gateway-1"]
    (written,) = [one for one in documented() if one.get("kind") == "Pod"]
    (net,) = [one for one in written["spec"]["volumes"] if one["name"] == "net"]
    assert net["configMap"].pop("name") == "NET"
    (net["configMap"]["name"],) = [
        one["metadata"]["name"] for one in cluster.objects if one["metadata"]["name"].startswith("net-")
    ]
    restore = cluster.add("restore", in_a_job(written))
    restore.share("data", gateway, "data")
    restore.share("backups", cluster.pods["backup-abcde"], "backups")
    assert gateway.stop("node") == 0
    for container in containers(restore.workload):
        code, said = restore.run_init(container["name"])
        assert code == 0, said
    assert "holds testnet up to block" in said
    gateway.start("node")
    wait_until_ready(cluster, gateway)


def test_metrics_call_a_node_as_its_pod_or_its_machine(cluster: Cluster) -> None:
    for pod, name in [(cluster.pods["authority-2"], "authority-2"), (cluster.pods["edge-abcde"], EDGE_NODE)]:
        done = cluster.run("curl", "--silent", "--fail", f"http://{pod.address}:7130/metrics")
        (info,) = [line for line in done.stdout.splitlines() if line.startswith("p2pledger_build_info{")]
        assert f'node="{name}"' in info


def test_an_edge_node_that_was_cut_off_catches_up(cluster: Cluster, folders: dict[str, Path]) -> None:
    edge = cluster.pods["edge-abcde"]
    edge.cut(off=True)
    load(cluster, folders["dev"], 5)
    aim = height(cluster, cluster.pods["gateway-1"])
    edge.cut(off=False)
    with cluster.patience(f"the edge has height {aim}", READY_S) as patience:
        while edge.probe("readiness") != 200 or height(cluster, edge) < aim:
            patience.again()
    assert edge.processes["node"].poll() is None


def test_a_rolling_restart_goes_one_by_one_and_each_stops_cleanly(
    cluster: Cluster, authorities: list[Pod], folders: dict[str, Path]
) -> None:
    for pod in reversed(authorities):
        assert pod.stop("node") == 0
        assert '"event": "stopped"' in pod.log().splitlines()[-1]
        assert pod.run_init("guard") == (0, "the guard is there\n")
        pod.start("node")
        wait_until_ready(cluster, pod)
    load(cluster, folders["dev"], 5)


def test_an_authority_that_has_lost_its_guard_follows_and_does_not_vote(
    cluster: Cluster, authorities: list[Pod], folders: dict[str, Path]
) -> None:
    pod = authorities[3]
    assert pod.stop("node") == 0
    for path in (pod.folder / "claims" / "guard").iterdir():
        path.unlink()
    cluster.objects.append(yaml.safe_load((folders["dev"] / "first-start.yaml").read_text()))
    code, said = pod.run_init("guard")
    assert code == 0 and "follows and does not vote" in said
    pod.start("node")
    wait_until_ready(cluster, pod)
    status = cluster.get(f"http://{pod.address}:7100/v1/status")
    assert (status["is_authority"], status["is_voting"]) == (True, False)
    load(cluster, folders["dev"], 5)
