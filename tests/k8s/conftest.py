"""Deployments as an operator makes them: by `p2pledger k8s init`, over the overlays of this checkout."""

import os
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml
from click.testing import CliRunner
from p2pledger.cli import main
from tests.k8s.tools import K8S, Rendered, render

DIGEST = "registry.example/city/p2pledger@sha256:" + "5" * 64
MADE = {
    "dev": [],
    "consortium": ["--namespace=city", "--chain-id=city"],
    "prod": [f"--image={DIGEST}", "--chain-id=city"],
    "seven": ["--overlay=dev", "--authorities=7", "--gateways=3"],
}
"""What `k8s init` is asked for, beside the overlay of that name."""

NAMES = [*MADE, "edge"]


@pytest.fixture(scope="session")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """The folder that is applied, by the deployment's name."""
    root = tmp_path_factory.mktemp("deployments")
    made = {}
    for name, options in MADE.items():
        overlay = [] if any(option.startswith("--overlay") for option in options) else [f"--overlay={name}"]
        done = CliRunner().invoke(
            main, ["k8s", "init", str(root / name), f"--manifests={K8S}", *overlay, *options]
        )
        assert done.exit_code == 0, done.output
        made[name] = root / name / ("member-2" if name == "consortium" else ".")
    made["edge"] = root / "edge"
    made["edge"].mkdir()
    # As docs/kubernetes.md has it: components over a deployment, and a Secret for each edge node.
    document = {
        "apiVersion": "kustomize.config.k8s.io/v1beta1",
        "kind": "Kustomization",
        "namespace": "p2pledger",
        "resources": ["../dev"],
        "components": [
            os.path.relpath(K8S / "components" / name, made["edge"]) for name in ("edge", "backup")
        ],
    }
    (made["edge"] / "kustomization.yaml").write_text(yaml.safe_dump(document))
    return made


@pytest.fixture(scope="session")
def rendered(folders: dict[str, Path]) -> Callable[[str], Rendered]:
    """What is applied, by the deployment's name."""
    return lambda name: render(folders[name])


@pytest.fixture(params=NAMES)
def deployment(request: pytest.FixtureRequest, rendered: Callable[[str], Rendered]) -> Rendered:
    """Each deployment in turn."""
    return rendered(request.param)
