"""The same dashboards and rules as objects of a Kubernetes cluster, for kustomize to take in. Floor 5.

Rules become a PrometheusRule, which the Prometheus operator reads; each page a ConfigMap with the label by
which Grafana's sidecar finds dashboards.
"""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import PurePosixPath
from typing import Any

OBJECTS = "kustomization.yaml"
RULE_OBJECT = "kubernetes/prometheus-rule.yaml"


def rule_object(groups: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """A PrometheusRule with the groups of Prometheus' own rule file."""
    return {
        "apiVersion": "monitoring.coreos.com/v1",
        "kind": "PrometheusRule",
        "metadata": {"name": "p2pledger"},
        "spec": {"groups": groups},
    }


def kustomization(pages: Iterable[str]) -> dict[str, Any]:
    """What kustomize makes of the files beside it; `pages` are those of the dashboards."""
    return {
        "apiVersion": "kustomize.config.k8s.io/v1beta1",
        "kind": "Kustomization",
        "resources": [RULE_OBJECT],
        # No hash in their names: nothing mounts them, and a sidecar would show a page twice.
        "generatorOptions": {"disableNameSuffixHash": True, "labels": {"grafana_dashboard": "1"}},
        "configMapGenerator": [
            {"name": f"{PurePosixPath(page).stem}-dashboard", "files": [page]} for page in sorted(pages)
        ],
    }
