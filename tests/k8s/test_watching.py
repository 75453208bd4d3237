"""What Prometheus and Grafana are given: every node as a target, the rules' labels, the pages."""

import re
from collections.abc import Callable
from typing import Any

import pytest
import yaml
from tests.k8s.policies import matches
from tests.k8s.tools import ROOT, Rendered, template

pytestmark = pytest.mark.campaign

NODES = ("StatefulSet", "DaemonSet")
CHAIN = "p2pledger.io/chain"


def relabelled(rules: list[dict[str, Any]], labels: dict[str, str]) -> dict[str, str]:
    """What a target's labels become: replacements, as Prometheus does them."""
    for rule in rules:
        text = ";".join(labels.get(name, "") for name in rule["sourceLabels"])
        match = re.fullmatch(rule.get("regex", "(.*)"), text)
        if match:
            labels[rule["targetLabel"]] = rule.get("replacement", "$1").replace(
                "$1", match[1] if match.re.groups else ""
            )
    return labels


def test_every_node_is_a_target_as_the_rules_want_it(rendered: Callable[[str], Rendered]) -> None:
    monitor = rendered("prod").get("PodMonitor", "p2pledger")["spec"]
    (endpoint,) = monitor["podMetricsEndpoints"]
    # It drops pods that have ended. No rule leaves out one that is not ready, or waits in Init.
    assert endpoint["filterRunning"] is True
    assert not any("action" in rule for rule in endpoint["relabelings"])
    for workload in [*rendered("prod").of(*NODES), rendered("edge").get("DaemonSet", "edge")]:
        labels = template(workload)["metadata"]["labels"]
        assert matches(monitor["selector"], labels)
        (node,) = template(workload)["spec"]["containers"]
        assert {port["name"]: port["containerPort"] for port in node["ports"]}[endpoint["port"]] == 7_130
        assert labels[monitor["jobLabel"]] == "p2pledger"
        meta = {
            f"__meta_kubernetes_pod_label_{re.sub('[^A-Za-z0-9]', '_', key)}": text
            for key, text in labels.items()
        }
        made = relabelled(endpoint["relabelings"], meta | {"__meta_kubernetes_pod_name": "pod-1"})
        role = "authority" if workload["metadata"]["name"] == "authority" else "gateway"
        assert (made["role"], made["chain"], made["instance"]) == (role, labels[CHAIN], "pod-1")
    assert {one["metadata"]["labels"][CHAIN] for one in rendered("prod").of(*NODES)} == {"city"}


def test_pages_are_the_files_that_compose_has_too(rendered: Callable[[str], Rendered]) -> None:
    pages = {
        path.name: path.read_text() for path in (ROOT / "deploy" / "monitoring" / "dashboards").glob("*.json")
    }
    found: dict[str, str] = {}
    for one in rendered("prod").of("ConfigMap"):
        if "grafana_dashboard" in one["metadata"]["labels"]:
            assert one["metadata"]["labels"]["grafana_dashboard"] == "1"
            assert len(yaml.safe_dump(one)) < 256 * 1024, "kubectl apply keeps a copy in an annotation"
            found |= one["data"]
    assert found == pages and len(pages) == 5
