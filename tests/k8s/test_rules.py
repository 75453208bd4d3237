"""One test for each rule of a deployment that others have paid for, over everything that is applied."""

import json
import os
import re
import tomllib
from collections.abc import Callable
from copy import deepcopy
from pathlib import Path
from typing import Any

import pytest
import yaml
from click.testing import CliRunner
from p2pledger.chain.genesis import Genesis
from p2pledger.cli import main
from p2pledger.codec import from_json
from p2pledger.node.config import check_peer_address
from tests.k8s.policies import matches
from tests.k8s.restricted import offences
from tests.k8s.tools import K8S, ROOT, Rendered, containers, render, template

pytestmark = pytest.mark.campaign

NODES = ("StatefulSet", "DaemonSet")
ADDRESS = re.compile(r"/dns4/([a-z]+-\d+)\.([a-z0-9]+)\.([a-z0-9-]+)\.svc/tcp/(\d+)/p2p/(\w+)")


def pods_of(workload: dict[str, Any]) -> list[str]:
    """The names of a StatefulSet's pods."""
    spec, name = workload["spec"], workload["metadata"]["name"]
    start = spec["ordinals"]["start"]
    return [f"{name}-{number}" for number in range(start, start + spec["replicas"])]


def net(deployment: Rendered) -> dict[str, str]:
    """The ConfigMap that nodes are given, by file."""
    (found,) = [
        one for one in deployment.of("ConfigMap") if re.fullmatch("net-[a-z0-9]{10}", one["metadata"]["name"])
    ]
    return found["data"]


def volume(workload: dict[str, Any], name: str) -> dict[str, Any]:
    (found,) = [one for one in template(workload)["spec"]["volumes"] if one["name"] == name]
    return found


def claims(workload: dict[str, Any]) -> dict[str, dict[str, Any]]:
    return {claim["metadata"]["name"]: claim for claim in workload["spec"]["volumeClaimTemplates"]}


# --- peers ---------------------------------------------------------------------------------------------


def test_peers_are_pods_by_name_and_identities_of_the_genesis_file(
    deployment: Rendered, rendered: Callable[[str], Rendered]
) -> None:
    files = net(deployment)
    genesis: Genesis = from_json(Genesis, json.loads(files["genesis.json"]))
    known = {one.peer for one in (*genesis.authorities.members, *genesis.gateways)}
    authorities = {one.peer for one in genesis.authorities.members}
    headless = deployment.get("Service", "p2p")
    for name, text in files.items():
        if name == "genesis.json":
            continue
        peers = tomllib.loads(text)["network"]["peers"]
        dialled = {peer.rpartition("/")[2] for peer in peers}
        if deployment is rendered("consortium"):  # whose gateways have no address beyond their cluster
            assert dialled < authorities if name.startswith("authority") else dialled == authorities
        else:
            assert len(peers) == len(dialled) == len(known) - 1 and dialled < known
        for peer in map(check_peer_address, peers):
            match = ADDRESS.fullmatch(peer)
            assert match, f"{peer} is not a pod's name"
            pod, service, _, port, identity = match.groups()
            assert pod != name.removesuffix(".toml") and identity in known
            assert service == headless["metadata"]["name"]
            assert int(port) == headless["spec"]["ports"][0]["port"]
        assert tomllib.loads(text)["network"]["allow_peers"] == [], "whom the ledger names, and nobody else"


def test_names_of_pods_do_not_wait_for_readiness(deployment: Rendered) -> None:
    spec = deployment.get("Service", "p2p")["spec"]
    assert spec["clusterIP"] == "None" and spec["publishNotReadyAddresses"] is True
    for workload in deployment.of("StatefulSet"):
        assert workload["spec"]["serviceName"] == "p2p"
        assert workload["spec"]["podManagementPolicy"] == "Parallel"
        assert matches({"matchLabels": spec["selector"]}, template(workload)["metadata"]["labels"])


def test_the_api_has_a_service_of_its_own_that_waits_for_readiness(deployment: Rendered) -> None:
    spec = deployment.get("Service", "api")["spec"]
    assert spec.get("clusterIP") != "None" and not spec.get("publishNotReadyAddresses")
    assert [port["port"] for port in spec["ports"]] == [7_100]
    assert spec["selector"]["app.kubernetes.io/component"] == "gateway", "authorities are not for users"


# --- starting and stopping ------------------------------------------------------------------------------


def test_three_probes_ask_three_things(deployment: Rendered) -> None:
    for workload in deployment.of(*NODES):
        (node,) = [one for one in containers(workload) if one["name"] == "node"]
        asked = {
            kind: node[f"{kind}Probe"]["httpGet"]["path"] for kind in ("startup", "liveness", "readiness")
        }
        assert asked == {
            "startup": "/healthz/startup", "liveness": "/healthz/live", "readiness": "/healthz/ready",
        }  # fmt: skip
        startup, liveness = node["startupProbe"], node["livenessProbe"]
        assert startup["periodSeconds"] * startup["failureThreshold"] >= 600, "a long chain opens slowly"
        assert liveness["periodSeconds"] * liveness["failureThreshold"] >= 60, "a busy machine is not dead"


def test_a_stop_has_its_time(deployment: Rendered) -> None:
    for workload in deployment.of(*NODES):
        spec = template(workload)["spec"]
        (node,) = spec["containers"]
        program, seconds = node["lifecycle"]["preStop"]["exec"]["command"]
        assert program == "sleep" and spec["terminationGracePeriodSeconds"] - float(seconds) >= 20
        assert spec["terminationGracePeriodSeconds"] >= 60


# --- keys ----------------------------------------------------------------------------------------------


def test_a_pod_is_given_its_own_keys_and_no_other(deployment: Rendered) -> None:
    for workload in deployment.of(*NODES):
        is_set = workload["kind"] == "StatefulSet"
        variable, field = ("POD_NAME", "metadata.name") if is_set else ("NODE_NAME", "spec.nodeName")
        keys = volume(workload, "keys")["projected"]
        owners = []
        for source in keys["sources"]:
            (owner,) = {item["path"].partition("/")[0] for item in source["secret"]["items"]}
            assert re.fullmatch(rf"{owner}(-[a-z0-9]{{10}})?", source["secret"]["name"])
            owners.append(owner)
        assert len(set(owners)) == len(owners)
        assert not is_set or owners == pods_of(workload)
        for container in containers(workload):
            (mount,) = [one for one in container["volumeMounts"] if one["name"] == "keys"]
            assert mount["subPathExpr"] == f"$({variable})" and mount["readOnly"] is True
            assert "subPath" not in mount
            (variable_entry,) = [one for one in container["env"] if one["name"] == variable]
            assert variable_entry["valueFrom"]["fieldRef"]["fieldPath"] == field
            assert not any("secretKeyRef" in str(one) for one in container["env"]), "a key is no variable"
        assert keys["defaultMode"] == 0o440
        assert template(workload)["spec"]["securityContext"]["fsGroup"] == 10_001


def test_an_organisation_has_a_namespace_and_no_key_of_another(rendered: Callable[[str], Rendered]) -> None:
    deployment = rendered("consortium")
    assert {one["metadata"]["namespace"] for one in deployment.objects if one["kind"] != "Namespace"} == {
        "city-2"
    }
    assert deployment.get("Namespace", "city-2")
    names = sorted(one["metadata"]["name"].rpartition("-")[0] for one in deployment.of("Secret"))
    assert names == ["authority-2", "gateway-2"]
    assert [pods_of(one) for one in deployment.of("StatefulSet")] == [["authority-2"], ["gateway-2"]]


@pytest.mark.parametrize(("role", "number"), [("authority", 5), ("gateway", 9)])
def test_a_node_that_comes_later_has_a_namespace_without_what_it_does_not_need(
    folders: dict[str, Path], tmp_path: Path, role: str, number: int
) -> None:
    net, home = folders["dev"] / "net", tmp_path / "home"
    passphrase = tmp_path / "passphrase"
    passphrase.touch(mode=0o600)
    passphrase.write_text("known to the museum")
    keys = [f"--passphrase-file={passphrase}", f"--genesis={net / 'genesis.json'}"]
    made = CliRunner().invoke(main, ["init", f"--dir={home}", f"--role={role}", *keys])
    assert made.exit_code == 0, made.output
    options = [f"--home={home}", f"--number={number}", *keys, "--namespace=museum", f"--manifests={K8S}"]
    made = CliRunner().invoke(main, ["k8s", "node", str(tmp_path / "museum"), *options])
    assert made.exit_code == 0, made.output
    deployment = render(tmp_path / "museum")
    (workload,) = deployment.workloads()
    assert pods_of(workload) == [f"{role}-{number}"]
    services = {one["metadata"]["name"] for one in deployment.of("Service")}
    assert services == {"p2p", "authority-public" if role == "authority" else "api"}
    assert bool(deployment.of("Ingress")) is (role == "gateway")
    assert [one["metadata"]["name"] for one in deployment.of("PodDisruptionBudget")] == [role]
    labels = deployment.get("Namespace", "museum")["metadata"]["labels"]
    assert labels["app.kubernetes.io/part-of"] == "p2pledger", "the others let it in by this"


def test_genesis_and_keys_are_named_by_their_content_and_made_by_nobody_here(deployment: Rendered) -> None:
    assert not deployment.of("Role", "ClusterRole", "RoleBinding", "ClusterRoleBinding", "Job")
    named = re.compile(r".*-[bcdfghkmt2456789]{10}")
    assert net(deployment)
    for one in deployment.of("Secret"):
        assert named.fullmatch(one["metadata"]["name"]) and one["immutable"] is True
        assert set(one["data"]) in (
            {"identity.key", "consensus.key", "passphrase"},
            {"identity.key", "transaction.key", "passphrase"},
        )


def test_in_earnest_keys_come_from_a_vault(rendered: Callable[[str], Rendered]) -> None:
    deployment = rendered("prod")
    assert not deployment.of("Secret")
    made = {one["spec"]["target"]["name"]: one for one in deployment.of("ExternalSecret")}
    for workload in deployment.of("StatefulSet"):
        for source in volume(workload, "keys")["projected"]["sources"]:
            keys = {item["key"] for item in source["secret"]["items"]}
            assert {data["secretKey"] for data in made.pop(source["secret"]["name"])["spec"]["data"]} == keys
    assert not made


# --- disruptions and disks ------------------------------------------------------------------------------


@pytest.mark.parametrize(("name", "away"), [("dev", 1), ("prod", 1), ("consortium", 1), ("seven", 2)])
def test_as_many_may_be_away_as_may_fail(rendered: Callable[[str], Rendered], name: str, away: int) -> None:
    deployment = rendered(name)
    genesis: Genesis = from_json(Genesis, json.loads(net(deployment)["genesis.json"]))
    assert away == (len(genesis.authorities.members) - 1) // 3
    spec = deployment.get("PodDisruptionBudget", "authority")["spec"]
    assert spec["maxUnavailable"] == away and "minAvailable" not in spec


def test_authorities_are_spread_over_machines_and_zones(rendered: Callable[[str], Rendered]) -> None:
    for name, machines in [("dev", "ScheduleAnyway"), ("prod", "DoNotSchedule")]:
        for workload in rendered(name).of("StatefulSet"):
            spread = {
                one["topologyKey"]: one for one in template(workload)["spec"]["topologySpreadConstraints"]
            }
            assert set(spread) == {"kubernetes.io/hostname", "topology.kubernetes.io/zone"}
            assert spread["kubernetes.io/hostname"]["whenUnsatisfiable"] == machines
            for one in spread.values():
                assert one["maxSkew"] == 1
                assert one["labelSelector"] == workload["spec"]["selector"]


def test_in_earnest_no_machine_has_two_authorities(rendered: Callable[[str], Rendered]) -> None:
    """Even spreading puts two of four on one of three machines."""
    workload = rendered("prod").get("StatefulSet", "authority")
    apart = template(workload)["spec"]["affinity"]["podAntiAffinity"]
    (term,) = apart["requiredDuringSchedulingIgnoredDuringExecution"]
    assert term["topologyKey"] == "kubernetes.io/hostname"
    assert matches(term["labelSelector"], template(workload)["metadata"]["labels"])
    assert not matches(
        term["labelSelector"], template(rendered("prod").get("StatefulSet", "gateway"))["metadata"]["labels"]
    )


def test_the_guard_has_a_claim_of_its_own_that_no_backup_takes(deployment: Rendered) -> None:
    workload = deployment.get("StatefulSet", "authority")
    assert set(claims(workload)) == {"data", "guard"}
    assert claims(workload)["guard"]["metadata"]["labels"]["velero.io/exclude-from-backup"] == "true"
    notes = template(workload)["metadata"]["annotations"]
    assert "guard" in notes["backup.velero.io/backup-volumes-excludes"].split(",")
    for container in containers(workload):
        mounts = {one["name"]: one["mountPath"] for one in container["volumeMounts"]}
        assert not mounts["guard"].startswith(mounts["data"] + "/"), "a copy of the data would hold it"
    kept = workload["spec"]["persistentVolumeClaimRetentionPolicy"]
    assert kept == {"whenDeleted": "Retain", "whenScaled": "Retain"}
    assert not deployment.of("VolumeSnapshot")


@pytest.mark.parametrize(
    ("name", "count"), [("dev", 1), ("seven", 1), ("edge", 1), ("consortium", 0), ("prod", 0)]
)
def test_a_guard_is_made_by_a_permit_that_only_a_trial_applies_by_itself(
    rendered: Callable[[str], Rendered], name: str, count: int
) -> None:
    deployment = rendered(name)
    workload = deployment.get("StatefulSet", "authority")
    (guard,) = template(workload)["spec"]["initContainers"]
    assert guard["args"][:2] == ["k8s", "guard"]
    source = volume(workload, "first-start")["configMap"]
    assert source["optional"] is True and source["name"] == "first-start"
    permits = [one for one in deployment.of("ConfigMap") if "first-start" in one["metadata"]["name"]]
    assert len(permits) == count


def test_a_backup_is_asked_for_over_the_network_and_never_of_a_nodes_claim(
    rendered: Callable[[str], Rendered],
) -> None:
    deployment = rendered("prod")
    (job,) = deployment.of("CronJob")
    (container,) = containers(job)
    assert container["args"][0] == "backup" and not container.get("env")
    (admin,) = [one for one in container["args"] if one.startswith("--admin=")]
    gateway = deployment.get("StatefulSet", "gateway")
    (node,) = template(gateway)["spec"]["containers"]
    port = {one["name"]: one["containerPort"] for one in node["ports"]}["admin"]
    assert admin == f"--admin=http://backup-source:{port}"
    variables = {one["name"]: one.get("value") for one in node["env"]}
    assert (variables["P2PLEDGER_ADMIN_HOST"], variables["P2PLEDGER_ADMIN_PORT"]) == ("0.0.0.0", str(port))
    (claim,) = deployment.of("PersistentVolumeClaim")
    assert volume(job, "backups")["persistentVolumeClaim"] == {"claimName": claim["metadata"]["name"]}
    of_nodes = {
        f"{name}-{pod}"
        for one in deployment.of("StatefulSet")
        for name in claims(one)
        for pod in pods_of(one)
    }
    assert claim["metadata"]["name"] not in of_nodes and len(of_nodes) == 10
    assert job["spec"]["concurrencyPolicy"] == "Forbid"
    assert "P2PLEDGER_ADMIN_PORT" not in str(deployment.get("StatefulSet", "authority"))


def test_a_backup_finds_a_gateway_whatever_its_number(folders: dict[str, Path]) -> None:
    folder = folders["consortium"].parent / "backed-up"
    folder.mkdir()
    component = os.path.relpath(K8S / "components" / "backup", folder)
    made = {"namespace": "city-2", "resources": ["../member-2"], "components": [component]}
    (folder / "kustomization.yaml").write_text(yaml.safe_dump(made))
    deployment = render(folder)
    source, gateway = deployment.get("Service", "backup-source"), deployment.get("StatefulSet", "gateway")
    assert pods_of(gateway) == ["gateway-2"]
    chosen = {"matchLabels": source["spec"]["selector"]}
    assert matches(chosen, template(gateway)["metadata"]["labels"])
    assert not matches(chosen, template(deployment.get("StatefulSet", "authority"))["metadata"]["labels"])
    (port,) = source["spec"]["ports"]
    (container,) = containers(deployment.get("CronJob", "backup"))
    assert f"--admin=http://backup-source:{port['port']}" in container["args"]


def test_gateways_are_a_set_and_on_edge_nodes_a_daemon_set(rendered: Callable[[str], Rendered]) -> None:
    assert set(claims(rendered("dev").get("StatefulSet", "gateway"))) == {"data"}
    edge = rendered("edge").get("DaemonSet", "edge")
    spec = template(edge)["spec"]
    assert spec["nodeSelector"] == {"p2pledger.io/edge": "true"}
    assert volume(edge, "data")["ephemeral"]["volumeClaimTemplate"]["spec"]["resources"]["requests"][
        "storage"
    ]
    (node,) = spec["containers"]
    variables = {one["name"]: one.get("value") for one in node["env"]}
    assert int(variables["P2PLEDGER_STORAGE_BODIES_KEPT_BLOCKS"]) > 0, "its disk fills more slowly"
    assert int(variables["P2PLEDGER_MEMPOOL_BYTES_MAX"]) <= 16 * 1024**2, "its memory is bounded"
    assert (variables["PYTHONMALLOC"], variables["LD_PRELOAD"]) == ("pymalloc", ""), "and little when idle"


# --- confinement ---------------------------------------------------------------------------------------


def test_every_pod_is_what_restricted_lets_in(deployment: Rendered) -> None:
    for workload in deployment.workloads():
        assert list(offences(template(workload)["spec"])) == [], workload["metadata"]["name"]
    (namespace,) = deployment.of("Namespace")
    labels = namespace["metadata"]["labels"]
    assert {labels[f"pod-security.kubernetes.io/{mode}"] for mode in ("enforce", "audit", "warn")} == {
        "restricted"
    }


PLANTED: list[Callable[[dict[str, Any]], object]] = [
    lambda spec: spec.update(hostNetwork=True),
    lambda spec: spec["volumes"].append({"name": "host", "hostPath": {"path": "/"}}),
    lambda spec: spec["securityContext"].pop("runAsNonRoot"),
    lambda spec: spec["securityContext"].pop("seccompProfile"),
    lambda spec: spec["containers"][0]["securityContext"].update(allowPrivilegeEscalation=True),
    lambda spec: spec["containers"][0]["securityContext"].update(runAsUser=0),
    lambda spec: spec["initContainers"][0]["securityContext"]["capabilities"].pop("drop"),
    lambda spec: spec["containers"][0]["securityContext"]["capabilities"].update(add=["NET_ADMIN"]),
    lambda spec: spec["containers"][0]["ports"][0].update(hostPort=7_100),
]


@pytest.mark.parametrize("plant", PLANTED)
def test_a_pod_that_is_not_would_be_found(
    rendered: Callable[[str], Rendered], plant: Callable[..., object]
) -> None:
    spec = deepcopy(template(rendered("dev").get("StatefulSet", "authority"))["spec"])
    plant(spec)
    assert list(offences(spec)) != []


def test_a_container_writes_to_its_volumes_only_and_takes_what_it_is_granted(deployment: Rendered) -> None:
    for workload in deployment.workloads():
        spec = template(workload)["spec"]
        assert spec["automountServiceAccountToken"] is False and spec["enableServiceLinks"] is False
        assert spec["serviceAccountName"] == "p2pledger"
        for container in containers(workload):
            assert container["securityContext"]["readOnlyRootFilesystem"] is True
            resources = container["resources"]
            for bound in ("requests", "limits"):
                assert {"cpu", "memory", "ephemeral-storage"} <= resources[bound].keys()
            (tmp,) = [one for one in container["volumeMounts"] if one["mountPath"] == "/tmp"]
            assert volume(workload, tmp["name"])["emptyDir"]["sizeLimit"]
    assert deployment.get("ServiceAccount", "p2pledger")["automountServiceAccountToken"] is False


def test_images_do_not_move(deployment: Rendered, rendered: Callable[[str], Rendered]) -> None:
    version = re.search(r"^ARG VERSION=(.+)$", (ROOT / "Dockerfile").read_text(), re.MULTILINE)
    assert version
    for workload in deployment.workloads():
        for container in containers(workload):
            if deployment is rendered("prod"):
                assert re.fullmatch(r"registry\.example/city/p2pledger@sha256:5{64}", container["image"])
            else:
                assert container["image"] == f"p2pledger:{version[1]}"
            assert container["imagePullPolicy"] == "IfNotPresent"
