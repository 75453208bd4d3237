"""Who reaches whom: NetworkPolicies worked out over every pair, and the Services that lead there."""

from collections.abc import Callable

import pytest
from tests.k8s.policies import End, allows, matches
from tests.k8s.tools import Rendered, template

pytestmark = pytest.mark.campaign

OUTSIDE = End(address="203.0.113.7")
DEVICE = End(address="192.0.2.7")
"""Of the network that the component `edge` names in the place of a site's own."""

NODE_DNS = End(address="169.254.20.10")
"""Where NodeLocal DNSCache listens on each machine."""


def ends(deployment: Rendered) -> dict[str, End]:
    """Who might connect to whom: each kind of pod, and strangers."""
    (namespace,) = deployment.of("Namespace")
    space, marks = namespace["metadata"]["name"], namespace["metadata"]["labels"]
    found = {
        one["metadata"]["name"]: End(space, template(one)["metadata"]["labels"], marks)
        for one in deployment.workloads()
    }
    return found | {
        "other": End(space, {"app": "other"}, marks),
        "member": End("museum", found["authority"].labels, marks),
        "dns": End("kube-system", {"k8s-app": "kube-dns"}),
        "node's dns": End("kube-system", {"k8s-app": "node-local-dns"}),
        "node's dns by address": NODE_DNS,
        "ingress": End("ingress-nginx", {"app.kubernetes.io/name": "ingress-nginx"}),
        "traefik": End("kube-system", {"app.kubernetes.io/name": "traefik"}),
        "prometheus": End("monitoring", {"app.kubernetes.io/name": "prometheus"}),
        "stranger": End("elsewhere", {"app.kubernetes.io/name": "p2pledger"}),
        "application": End("metering", {"app": "collector"}, {"p2pledger.io/api": "true"}),
        "device": DEVICE,
        "outside": OUTSIDE,
    }


def test_only_what_is_needed_is_let_through(rendered: Callable[[str], Rendered]) -> None:
    deployment = rendered("edge")
    known = ends(deployment)
    nodes = ("authority", "gateway", "edge")
    expected = {(source, target, 7_160) for source in (*nodes, "member") for target in (*nodes, "member")}
    expected -= {("member", "member", 7_160)}  # what is let in there is not for this namespace to say
    users = ("ingress", "traefik", "application")
    expected |= {(source, target, 7_100) for source in users for target in ("gateway", "edge")}
    expected |= {("device", "edge", 7_100)}
    expected |= {("prometheus", target, 7_130) for target in nodes}
    expected |= {("backup", "gateway", 7_190)}
    inside = (*nodes, "backup", "other")
    resolvers = ("dns", "node's dns", "node's dns by address")
    expected |= {(source, target, 53) for source in inside for target in resolvers}
    let = {
        (source, target, port)
        for source, one in known.items()
        for target, another in known.items()
        for port in (53, 80, 443, 7_100, 7_130, 7_160, 7_190)
        if (source in inside or target in inside) and allows(deployment, one, another, port)
    }
    assert let == expected
    for source in inside:
        assert all(allows(deployment, known[source], known[target], 53, "UDP") for target in resolvers)
        assert not allows(deployment, known[source], OUTSIDE, 53, "UDP")


def test_a_consortiums_peers_are_anywhere_and_reach_p2p_only(rendered: Callable[[str], Rendered]) -> None:
    deployment = rendered("consortium")
    known = ends(deployment)
    for name in ("authority", "gateway"):
        assert {port for port in (7_100, 7_130, 7_160) if allows(deployment, OUTSIDE, known[name], port)} == {
            7_160
        }
        assert {port for port in (80, 443, 7_160) if allows(deployment, known[name], OUTSIDE, port)} == {
            7_160
        }
    # A block of addresses says nothing of pods: network plug-ins need not hold it against those of a cluster.
    for source in ("authority", "gateway", "member"):
        for target in {"authority", "gateway", "member"} - {source}:
            assert allows(deployment, known[source], known[target], 7_160), f"{source} to {target}"
    public = deployment.get("Service", "authority-public")["spec"]
    assert (public["type"], [port["port"] for port in public["ports"]]) == ("LoadBalancer", [7_160])


def test_everything_is_denied_first(deployment: Rendered) -> None:
    spec = deployment.get("NetworkPolicy", "default-deny")["spec"]
    assert spec == {"podSelector": {}, "policyTypes": ["Ingress", "Egress"]}


def test_a_device_on_site_reaches_the_gateway_of_its_machine_in_sync_or_not(
    rendered: Callable[[str], Rendered],
) -> None:
    deployment = rendered("edge")
    spec = deployment.get("Service", "edge-api")["spec"]
    assert spec["type"] == "NodePort" and spec["ports"][0]["nodePort"], "it comes from outside the cluster"
    assert (spec["internalTrafficPolicy"], spec["externalTrafficPolicy"]) == ("Local", "Local")
    assert spec["publishNotReadyAddresses"] is True, "one that is offline is not ready"
    assert matches(
        {"matchLabels": spec["selector"]}, template(deployment.get("DaemonSet", "edge"))["metadata"]["labels"]
    )
