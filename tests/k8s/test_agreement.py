"""What one object says of another holds: names, selectors, ports, mounts and files, whatever is applied."""

import re
import tomllib
from collections.abc import Iterator
from pathlib import PurePosixPath
from typing import Any

import pytest
from p2pledger import allocator
from p2pledger.node.config import CHECKS, PREFIX
from tests.k8s.policies import matches
from tests.k8s.tools import Rendered, containers, template

pytestmark = pytest.mark.campaign

FROM_ELSEWHERE = {("ConfigMap", "first-start"), ("Secret", "api-tls"), ("Secret", "edge-1")}
"""What an operator applies beside it: the permit, the certificate of the API, an edge node's keys."""


def existing(deployment: Rendered, kind: str) -> set[str]:
    """Names of objects of a kind, and of those that an operator or somebody makes of them."""
    found = {one["metadata"]["name"] for one in deployment.of(kind)}
    found |= {name for other, name in FROM_ELSEWHERE if other == kind}
    if kind == "Secret":
        found |= {one["spec"]["target"]["name"] for one in deployment.of("ExternalSecret")}
    return found


def labels_of_pods(deployment: Rendered) -> list[dict[str, str]]:
    return [template(one)["metadata"]["labels"] for one in deployment.workloads()]


def referenced(node: Any) -> Iterator[tuple[str, str]]:
    """Kind and name of all that a pod's spec refers to."""
    kinds = {"configMap": "ConfigMap", "secret": "Secret", "configMapRef": "ConfigMap", "secretRef": "Secret"}
    if isinstance(node, dict):
        for key, child in node.items():
            if key in kinds and isinstance(child, dict):
                yield kinds[key], child.get("name") or child["secretName"]
            elif key == "claimName":
                yield "PersistentVolumeClaim", child
            elif key == "serviceAccountName":
                yield "ServiceAccount", child
            yield from referenced(child)
    elif isinstance(node, list):
        for child in node:
            yield from referenced(child)


def test_what_a_pod_refers_to_is_there(deployment: Rendered) -> None:
    for workload in deployment.workloads():
        found = set(referenced(template(workload)["spec"]))
        assert found
        for kind, name in found:
            assert name in existing(deployment, kind), f"{workload['metadata']['name']}: no {kind} {name}"


def test_all_keys_of_a_projection_are_in_their_secret(deployment: Rendered) -> None:
    secrets = {one["metadata"]["name"]: set(one["data"]) for one in deployment.of("Secret")}
    for workload in deployment.of("StatefulSet"):
        for volume in template(workload)["spec"]["volumes"]:
            for source in volume.get("projected", {}).get("sources", ()):
                name = source["secret"]["name"]
                if secrets:
                    assert {item["key"] for item in source["secret"]["items"]} == secrets[name]


def test_all_objects_are_in_one_namespace(deployment: Rendered) -> None:
    (namespace,) = deployment.of("Namespace")
    spaces = {one["metadata"].get("namespace") for one in deployment.objects if one["kind"] != "Namespace"}
    assert spaces == {namespace["metadata"]["name"]}


def test_names_are_taken_once(deployment: Rendered) -> None:
    names = [(one["kind"], one["metadata"]["name"]) for one in deployment.objects]
    assert len(set(names)) == len(names)


def test_a_workload_selects_its_own_pods_and_no_others(deployment: Rendered) -> None:
    for workload in deployment.of("StatefulSet", "DaemonSet"):
        taken = [one for one in labels_of_pods(deployment) if matches(workload["spec"]["selector"], one)]
        assert taken == [template(workload)["metadata"]["labels"]]


def test_a_budget_is_for_the_pods_of_one_set(deployment: Rendered) -> None:
    """A DaemonSet's pods have no scale: a budget that takes one of them in says nothing any more."""
    for budget in deployment.of("PodDisruptionBudget"):
        (workload,) = [
            one
            for one in deployment.workloads()
            if matches(budget["spec"]["selector"], template(one)["metadata"]["labels"])
        ]
        assert (workload["kind"], workload["metadata"]["name"]) == ("StatefulSet", budget["metadata"]["name"])


def test_a_service_leads_to_a_port_of_each_pod_that_it_selects(deployment: Rendered) -> None:
    for service in deployment.of("Service"):
        chosen = [
            one
            for one in deployment.workloads()
            if matches({"matchLabels": service["spec"]["selector"]}, template(one)["metadata"]["labels"])
        ]
        assert chosen, f"{service['metadata']['name']} selects nobody"
        for workload in chosen:
            ports = {port["name"] for one in containers(workload) for port in one.get("ports", ())}
            assert {port["targetPort"] for port in service["spec"]["ports"]} <= ports


def test_an_ingress_leads_to_a_service_and_its_port(deployment: Rendered) -> None:
    for ingress in deployment.of("Ingress"):
        for rule in ingress["spec"]["rules"]:
            for path in rule["http"]["paths"]:
                service = deployment.get("Service", path["backend"]["service"]["name"])
                names = {port["name"] for port in service["spec"]["ports"]}
                assert path["backend"]["service"]["port"]["name"] in names
        hosts = {rule["host"] for rule in ingress["spec"]["rules"]}
        assert hosts == {host for tls in ingress["spec"]["tls"] for host in tls["hosts"]}, "nothing in clear"


def test_a_policy_is_for_pods_that_there_are(deployment: Rendered) -> None:
    for policy in deployment.of("NetworkPolicy"):
        selector = policy["spec"]["podSelector"]
        assert any(matches(selector, labels) for labels in labels_of_pods(deployment)), policy["metadata"][
            "name"
        ]


def test_mounts_and_volumes_are_each_others(deployment: Rendered) -> None:
    for workload in deployment.workloads():
        volumes = [one["name"] for one in template(workload)["spec"]["volumes"]]
        volumes += [one["metadata"]["name"] for one in workload["spec"].get("volumeClaimTemplates", ())]
        mounted = [mount["name"] for one in containers(workload) for mount in one["volumeMounts"]]
        assert len(set(volumes)) == len(volumes) and set(mounted) == set(volumes)
        for one in containers(workload):
            paths = [mount["mountPath"] for mount in one["volumeMounts"]]
            assert len(set(paths)) == len(paths)


def test_probes_and_ports_are_those_of_the_configuration(deployment: Rendered) -> None:
    for workload in deployment.of("StatefulSet", "DaemonSet"):
        (node,) = [one for one in containers(workload) if one["name"] == "node"]
        variables = {one["name"]: one.get("value", "") for one in node["env"]}
        ports = {port["name"]: str(port["containerPort"]) for port in node["ports"]}
        assert ports["api"] == variables["P2PLEDGER_API_PORT"]
        assert ports["metrics"] == variables["P2PLEDGER_METRICS_PORT"]
        assert variables["P2PLEDGER_NETWORK_LISTEN"] == f"/ip4/0.0.0.0/tcp/{ports['p2p']}"
        assert {variables[f"P2PLEDGER_{part}_HOST"] for part in ("API", "METRICS")} == {"0.0.0.0"}
        assert {node[f"{kind}Probe"]["httpGet"]["port"] for kind in ("startup", "liveness", "readiness")} == {
            "api"
        }


def test_settings_are_settings_and_their_paths_are_mounted(deployment: Rendered) -> None:
    known = {f"{PREFIX}{section}_{key}".upper() for section, keys in CHECKS.items() for key in keys}
    known |= {"POD_NAME", "NODE_NAME", *allocator.variables("")}
    for workload in deployment.of("StatefulSet", "DaemonSet"):
        for container in containers(workload):
            mounted = {PurePosixPath(one["mountPath"]) for one in container["volumeMounts"]}
            for variable in container["env"]:
                name, value = variable["name"], variable.get("value", "")
                assert name in known
                if re.match("/(etc|run|var)/", value):
                    path = PurePosixPath(value)
                    assert mounted & {path, *path.parents}, f"{name}={value} is on no volume"


def test_every_configuration_that_is_named_is_there_and_has_its_role(deployment: Rendered) -> None:
    (files,) = [
        one["data"] for one in deployment.of("ConfigMap") if one["metadata"]["name"].startswith("net-")
    ]
    for workload in deployment.of("StatefulSet", "DaemonSet"):
        name = workload["metadata"]["name"]
        if workload["kind"] == "StatefulSet":
            start = workload["spec"]["ordinals"]["start"]
            pods = [f"{name}-{n}" for n in range(start, start + workload["spec"]["replicas"])]
        else:
            pods = [name]
        for pod in pods:
            role = tomllib.loads(files[f"{pod}.toml"])["node"]["role"]
            assert role == ("authority" if name == "authority" else "gateway")
        for container in containers(workload):
            (argument,) = [one for one in container["args"] if one.startswith("--config=")]
            assert argument in (
                "--config=/etc/p2pledger/$(POD_NAME).toml",
                f"--config=/etc/p2pledger/{name}.toml",
            )
