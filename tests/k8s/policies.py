"""What NetworkPolicies let through, worked out as they are defined: all that isolate a pod are added up."""

import ipaddress
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from tests.k8s.tools import Rendered


@dataclass(frozen=True)
class End:
    """One end of a connection: a pod by its labels and namespace, or an address outside."""

    namespace: str = ""
    labels: Mapping[str, str] = field(default_factory=dict)
    of_namespace: Mapping[str, str] = field(default_factory=dict)
    """The namespace's labels, beside its name."""
    address: str = ""


def matches(selector: Mapping[str, Any], labels: Mapping[str, str]) -> bool:
    """Whether a label selector takes these labels; an empty one takes all."""
    if any(labels.get(key) != value for key, value in selector.get("matchLabels", {}).items()):
        return False
    for rule in selector.get("matchExpressions", ()):
        key, values = rule["key"], rule.get("values", ())
        holds = {
            "In": labels.get(key) in values,
            "NotIn": labels.get(key) not in values,
            "Exists": key in labels,
            "DoesNotExist": key not in labels,
        }[rule["operator"]]
        if not holds:
            return False
    return True


def allows(rendered: Rendered, source: End, target: End, port: int, protocol: str = "TCP") -> bool:
    """Whether a connection is let out of its source and into its target."""
    out = _let(rendered, source, target, "Egress", "egress", "to", port, protocol)
    return out and _let(rendered, target, source, "Ingress", "ingress", "from", port, protocol)


def _let(
    rendered: Rendered, at: End, other: End, kind: str, rules: str, peers: str, port: int, protocol: str
) -> bool:
    isolating = [
        policy["spec"]
        for policy in rendered.of("NetworkPolicy")
        if policy["metadata"]["namespace"] == at.namespace
        and kind in policy["spec"]["policyTypes"]
        and matches(policy["spec"]["podSelector"], at.labels)
    ]
    if not isolating:
        return True
    return any(
        _is_port(rule, port, protocol) and _is_peer(rule.get(peers), at, other)
        for spec in isolating
        for rule in spec.get(rules, ())
    )


def _is_port(rule: Mapping[str, Any], port: int, protocol: str) -> bool:
    named: Iterable[Mapping[str, Any]] = rule.get("ports", ())
    return not named or any(
        one.get("port") in (None, port) and one.get("protocol", "TCP") == protocol for one in named
    )


def _is_peer(peers: Iterable[Mapping[str, Any]] | None, at: End, other: End) -> bool:
    if not peers:
        return True
    for peer in peers:
        if "ipBlock" in peer:
            block = ipaddress.ip_network(peer["ipBlock"]["cidr"])
            if other.address and ipaddress.ip_address(other.address) in block:
                return True
            continue
        spaces = peer.get("namespaceSelector")
        labels = {"kubernetes.io/metadata.name": other.namespace, **other.of_namespace}
        is_space = other.namespace == at.namespace if spaces is None else matches(spaces, labels)
        if not other.address and is_space and matches(peer.get("podSelector", {}), other.labels):
            return True
    return False
