"""What is applied is what Kubernetes and the operators take, by their own published schemas."""

import json
import os
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml
from tests.k8s.conftest import NAMES
from tests.k8s.restricted import offences
from tests.k8s.tools import (
    K8S,
    ROOT,
    TOOLS,
    Rendered,
    containers,
    documented,
    in_a_job,
    render,
    run,
    template,
    told,
    tool,
)
from tests.monitoring.prometheus import program

pytestmark = pytest.mark.campaign

VERSIONS = ("1.33", "1.34", "1.35", "1.36", "1.37")
"""Three that are supported, and two that still run in clusters; nothing here needs a newer one than 1.31."""

CUSTOM = {
    "PodMonitor": "prometheus-operator/monitoring.coreos.com/v1",
    "PrometheusRule": "prometheus-operator/monitoring.coreos.com/v1",
    "ExternalSecret": "external-secrets/external-secrets.io/v1",
}
STRICT = (
    *("--strict", "--noEmit", "--skipLibCheck"),
    *("--module", "esnext", "--moduleResolution", "bundler", "--target", "es2022"),
)


def complaints(text: str, version: str, folder: Path) -> list[str]:
    """What kubernetes-validate says against objects: a warning counts, but for custom resources."""
    (folder / "objects.yaml").write_text(text)
    done = run(
        tool("venv/bin/kubernetes-validate"),
        "--strict",
        "--quiet",
        "-k",
        version,
        str(folder / "objects.yaml"),
    )
    said = [line for line in (done.stdout + done.stderr).splitlines() if line.strip()]
    return [line for line in said if not any(f"for kind {kind} with" in line for kind in CUSTOM)]


@pytest.mark.parametrize("version", VERSIONS)
def test_every_built_in_object_fits_its_schema(
    rendered: Callable[[str], Rendered], version: str, tmp_path: Path
) -> None:
    text = "---\n".join(rendered(name).text() for name in NAMES)
    assert complaints(text, version, tmp_path) == []


@pytest.mark.parametrize(
    ("planted", "said"),
    [
        (lambda pod: pod.update(enableServiceLink=False), "enableServiceLink"),
        (lambda pod: pod.update(terminationGracePeriodSeconds="60"), "60"),
        (lambda pod: pod["containers"][0].pop("name"), "name"),
    ],
)
def test_a_planted_fault_is_found(
    rendered: Callable[[str], Rendered], planted: Callable[[dict], object], said: str, tmp_path: Path
) -> None:
    (workload,) = yaml.safe_load_all(yaml.safe_dump(rendered("dev").get("StatefulSet", "authority")))
    planted(workload["spec"]["template"]["spec"])
    assert any(said in line for line in complaints(yaml.safe_dump(workload), VERSIONS[-1], tmp_path))


def test_a_kind_that_is_gone_is_found(tmp_path: Path) -> None:
    old = {"apiVersion": "policy/v1beta1", "kind": "PodDisruptionBudget", "metadata": {"name": "x"}}
    assert any(
        "PodDisruptionBudget" in line for line in complaints(yaml.safe_dump(old), VERSIONS[0], tmp_path)
    )


# --- custom resources ------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def custom(rendered: Callable[[str], Rendered]) -> list[dict]:
    return [one for name in NAMES for one in rendered(name).of(*CUSTOM)]


def typed(objects: dict[str, dict], folder: Path) -> list[str]:
    """What TypeScript says against objects as literals of their published types: an unknown field, too."""
    (folder / "node_modules").symlink_to(TOOLS / "node_modules")
    for name, one in objects.items():
        where = f"@kubernetes-models/{CUSTOM[one['kind']]}/{one['kind']}"
        literal = f"import type {{ I{one['kind']} }} from '{where}';\nexport const it: I{one['kind']} = "
        (folder / f"{name}.ts").write_text(literal + json.dumps(one, indent=1) + ";\n")
    names = [f"{name}.ts" for name in objects]
    compiler = str(TOOLS / "node_modules" / "typescript" / "bin" / "tsc")
    done = run(str(ROOT / ".venv" / "bin" / "node"), compiler, *STRICT, *names, cwd=folder)
    assert (done.returncode == 0) == (done.stdout == ""), done.stderr
    return [line for line in done.stdout.splitlines() if not line.startswith(" ")]


def validated(objects: dict[str, dict], folder: Path) -> dict[str, str]:
    """What the operators' own schemas say against objects: enumerations and patterns."""
    if not (folder / "node_modules").exists():
        (folder / "node_modules").symlink_to(TOOLS / "node_modules")
    program = """
        import { readFileSync } from 'node:fs';
        const faults = {};
        for (const [name, [where, one]] of Object.entries(JSON.parse(readFileSync('objects.json')))) {
            const made = await import(where);
            try { new made[one.kind](one).validate(); } catch (error) { faults[name] = error.message; }
        }
        console.log(JSON.stringify(faults));
    """
    (folder / "validate.mjs").write_text(program)
    asked = {
        name: [f"@kubernetes-models/{CUSTOM[one['kind']]}/{one['kind']}", one]
        for name, one in objects.items()
    }
    (folder / "objects.json").write_text(json.dumps(asked))
    done = run(str(ROOT / ".venv" / "bin" / "node"), "validate.mjs", cwd=folder)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_every_custom_resource_fits_its_published_type_and_schema(custom: list[dict], tmp_path: Path) -> None:
    assert {one["kind"] for one in custom} == set(CUSTOM)
    objects = {f"object-{number}": one for number, one in enumerate(custom)}
    assert typed(objects, tmp_path) == []
    assert validated(objects, tmp_path) == {}


def test_a_planted_fault_in_a_custom_resource_is_found(custom: list[dict], tmp_path: Path) -> None:
    def broken(kind: str, break_: Callable[[dict], object]) -> dict:
        one = json.loads(json.dumps(next(one for one in custom if one["kind"] == kind)))
        break_(one["spec"])
        return one

    unknown = {
        "monitor": broken("PodMonitor", lambda spec: spec.update(podMetricEndpoints=[])),
        "rule": broken("PrometheusRule", lambda spec: spec["groups"][0]["rules"][0].update(exprs="x")),
        "secret": broken("ExternalSecret", lambda spec: spec.update(refreshIntervall="1h")),
    }
    assert {line.partition(".ts(")[0] for line in typed(unknown, tmp_path)} == set(unknown)
    wrong = {
        "interval": broken("PodMonitor", lambda spec: spec["podMetricsEndpoints"][0].update(interval="soon")),
        "policy": broken("ExternalSecret", lambda spec: spec["target"].update(creationPolicy="Mine")),
    }
    assert set(validated(wrong, tmp_path)) == set(wrong)


def test_promtool_takes_the_rules_of_the_cluster(rendered: Callable[[str], Rendered], tmp_path: Path) -> None:
    spec = rendered("prod").get("PrometheusRule", "p2pledger")["spec"]
    (tmp_path / "rules.yml").write_text(yaml.safe_dump(spec, width=10_000))
    done = run(
        program("promtool"), "check", "rules", "--lint=all", "--lint-fatal", str(tmp_path / "rules.yml")
    )
    assert done.returncode == 0, done.stdout + done.stderr
    committed = yaml.safe_load((ROOT / "deploy" / "monitoring" / "rules" / "p2pledger.yml").read_text())
    assert spec == committed


# --- checkov ---------------------------------------------------------------------------------------------

EXCEPTIONS = yaml.safe_load((K8S / "checkov.yaml").read_text())["skip-check"]


def checked(text: str, folder: Path) -> dict[str, set[str]]:
    """Checks of checkov that fail, with what they fail for. It has no network."""
    (folder / "objects.yaml").write_text(text)
    done = run(
        *(
            "unshare",
            "--net",
            tool("venv/bin/checkov"),
            "--framework",
            "kubernetes",
            "--skip-download",
            "--compact",
            "--quiet",
        ),
        *("--output", "json", "--file", str(folder / "objects.yaml")),
        env={"PATH": "/usr/bin:/bin", "HOME": str(folder), "LOG_LEVEL": "ERROR"},
    )
    report = json.loads(done.stdout)
    assert report["summary"]["parsing_errors"] == 0 and report["summary"]["passed"] > 50
    failed: dict[str, set[str]] = {}
    for check in report["results"]["failed_checks"]:
        failed.setdefault(check["check_id"], set()).add(check["resource"])
    return failed


@pytest.mark.parametrize("name", ["prod", "edge", "consortium"])
def test_checkov_finds_nothing_that_is_not_accounted_for(
    rendered: Callable[[str], Rendered], name: str, tmp_path: Path
) -> None:
    failed = checked(rendered(name).text(), tmp_path)
    # In earnest there are no exceptions; elsewhere each of them is needed.
    assert sorted(failed) == ([] if name == "prod" else sorted(EXCEPTIONS)), failed


def test_every_exception_has_a_reason() -> None:
    lines = (K8S / "checkov.yaml").read_text().splitlines()
    for check in EXCEPTIONS:
        (line,) = [line for line in lines if check in line]
        assert len(line.partition("#")[2].split()) >= 8, f"{check} is left out without a reason"


def test_checkov_would_find_a_pod_that_is_root(rendered: Callable[[str], Rendered], tmp_path: Path) -> None:
    (workload,) = yaml.safe_load_all(yaml.safe_dump(rendered("prod").get("StatefulSet", "gateway")))
    pod = workload["spec"]["template"]["spec"]
    del pod["securityContext"], pod["containers"][0]["securityContext"]
    text = rendered("prod").text() + "---\n" + yaml.safe_dump(workload)
    assert {"CKV_K8S_22", "CKV_K8S_20"} <= set(checked(text, tmp_path))


# --- what is committed -----------------------------------------------------------------------------------


@pytest.mark.parametrize("overlay", ["dev", "consortium", "prod"])
def test_an_overlay_renders_by_itself(overlay: str) -> None:
    assert render(K8S / "overlays" / overlay).of("StatefulSet")


def test_every_file_is_part_of_something(tmp_path: Path) -> None:
    """A manifest that no kustomization names would be checked by nobody."""
    for path in K8S.rglob("*.yaml"):
        if path.name == "kustomization.yaml" or path.parent == K8S:
            continue
        named = yaml.safe_load((path.parent / "kustomization.yaml").read_text())["resources"]
        assert path.name in named, path


# --- what operators are told to apply --------------------------------------------------------------------


def test_the_pod_that_restores_is_let_in(rendered: Callable[[str], Rendered], tmp_path: Path) -> None:
    (pod,) = [one for one in documented() if one.get("kind") == "Pod"]
    assert list(offences(pod["spec"])) == []
    assert complaints(yaml.safe_dump(pod), VERSIONS[-1], tmp_path) == []
    claims = {
        one["persistentVolumeClaim"]["claimName"]: one["name"]
        for one in pod["spec"]["volumes"]
        if "persistentVolumeClaim" in one
    }
    deployment = rendered("edge")
    (backups,) = [one["metadata"]["name"] for one in deployment.of("PersistentVolumeClaim")]
    assert set(claims) == {backups, "data-gateway-1"}
    for container in containers(in_a_job(pod)):
        assert container["image"] == "IMAGE", "who restores under another version has another surprise"
        mounts = {one["name"]: one for one in container["volumeMounts"]}
        assert mounts.keys() <= {one["name"] for one in pod["spec"]["volumes"]}
        assert not mounts["data"].get("readOnly")
        assert mounts.get("backups", {}).get("readOnly", True), "a backup is read"
        assert container["resources"]["limits"]


def test_a_gateway_is_restored_step_by_step_each_after_the_one_before() -> None:
    """A pod that still runs, or one that has not ended, would have the claim."""
    lines = [line.removeprefix("kubectl -n p2pledger ") for line in told("Back up and restore")]
    steps = [
        "scale statefulset gateway --replicas 0", "wait --for=delete pod/gateway-1",
        "apply -f restore.yaml", "wait --for=jsonpath='{.status.phase}'=Succeeded pod/restore",
        "logs restore", "delete pod restore", "scale statefulset gateway --replicas 2",
    ]  # fmt: skip
    restoring = lines[-len(steps) :]
    assert [line.startswith(step) for line, step in zip(restoring, steps, strict=True)] == [True] * len(
        steps
    ), restoring


def test_the_edge_as_it_is_told_gives_a_machine_its_own_keys(folders: dict[str, Path]) -> None:
    (written,) = [one for one in documented() if "components" in one]
    (component,) = written["components"]
    folder = folders["dev"].parent / "pump"
    folder.mkdir()
    made = {
        "apiVersion": "kustomize.config.k8s.io/v1beta1",
        "kind": "Kustomization",
        "namespace": "p2pledger",
        "resources": ["../dev"],
        "components": [os.path.relpath(ROOT / component.removeprefix("../"), folder)],
        "patches": written["patches"],
    }
    (folder / "kustomization.yaml").write_text(yaml.safe_dump(made))
    deployment = render(folder)
    spec = template(deployment.get("DaemonSet", "edge"))["spec"]
    (keys,) = [volume["projected"]["sources"] for volume in spec["volumes"] if volume["name"] == "keys"]
    assert [source["secret"]["name"] for source in keys] == ["edge-pump-7"]
    (rule,) = deployment.get("NetworkPolicy", "edge-api")["spec"]["ingress"]
    assert rule["from"] == [{"ipBlock": {"cidr": "10.20.7.0/24"}}], "the devices of the site, and nobody else"
