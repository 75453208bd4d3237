"""What operators are told to do by hand, done: what becomes of what is applied."""

import json
import re
import shutil
import subprocess
import sys
import tomllib
from base64 import b64decode
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from click.testing import CliRunner
from p2pledger.cli import main
from p2pledger.network.host import peer_id_of
from p2pledger.signer.keyfile import SecretRole, load_key_file, read_public_key
from tests.k8s.tools import DOCUMENTED, K8S, ROOT, Rendered, documented, render, template, told

pytestmark = pytest.mark.campaign

SLOT = "Replace an authority, rotate its keys"


def secrets(deployment: Rendered) -> dict[str, dict[str, bytes]]:
    """What each node is given, by its name."""
    return {
        one["metadata"]["name"].rpartition("-")[0]: {
            key: b64decode(text) for key, text in one["data"].items()
        }
        for one in deployment.of("Secret")
    }


def peer_in(home: Path, passphrase: bytes) -> str:
    return peer_id_of(load_key_file(home / "identity.key", SecretRole.IDENTITY, passphrase).secret)


def typed(lines: list[str], words: dict[str, str]) -> None:
    """Type lines, but for what needs a cluster or a ledger that runs."""
    for line in lines:
        if line.startswith(("kubectl", "p2pledger authority")):
            continue
        for word, meant in words.items():
            line = re.sub(rf"\b{word}\b", meant, line)
        line = re.sub("^p2pledger", f"{sys.executable} -m p2pledger", line)
        done = subprocess.run(["sh", "-ec", line], capture_output=True, text=True, check=False)
        assert done.returncode == 0, f"{line}: {done.stdout}{done.stderr}"


def test_a_new_key_comes_into_the_slot_of_the_old_one(
    folders: dict[str, Path], rendered: Callable[[str], Rendered], tmp_path: Path
) -> None:
    folder, new = folders["dev"].parent / "rotated", tmp_path / "new"
    shutil.copytree(folders["dev"], folder)
    slot, own = folder / "net" / "authority-2", tmp_path / "own passphrase"
    own.touch(mode=0o600)
    own.write_bytes(b"of the new home alone")
    old_peer = peer_in(slot, (slot / "passphrase").read_bytes())
    (gateway,) = [
        peer
        for peer in tomllib.loads((folder / "net" / "authority-2" / "node.toml").read_text())["network"][
            "peers"
        ]
        if "gateway-1" in peer
    ]
    words = {"MULTIADDR": gateway, "FILE": f"'{own}'", "OLDPEER": old_peer}
    words |= {"KEPT": str(tmp_path / "kept"), "DIR": str(folder), "NEW": str(new)}
    init, *lines = told(SLOT)
    typed([init], words)
    new_peer = peer_in(new, own.read_bytes())
    typed(lines, words | {"NEWPEER": new_peer})

    before, after = secrets(rendered("dev")), secrets(render(folder))
    assert {name for name in after if after[name] != before[name]} == {"authority-2"}
    assert after["authority-2"]["consensus.key"] == (new / "consensus.key").read_bytes()
    assert after["authority-2"]["identity.key"] == (new / "identity.key").read_bytes()
    assert after["authority-2"]["passphrase"] == own.read_bytes()
    permit = json.loads(yaml.safe_load((folder / "first-start.yaml").read_text())["data"]["permit.json"])
    assert permit["keys"] == [read_public_key(new / "consensus.key")[1].hex()], "no key that has signed"
    assert not (new / "guard").exists(), "its guard is made where it stays"
    for configuration in (folder / "net").glob("*/node.toml"):
        peers_there = "".join(tomllib.loads(configuration.read_text())["network"]["peers"])
        assert old_peer not in peers_there
        assert (new_peer in peers_there) is (configuration.parent.name != "authority-2")
    assert (tmp_path / "kept" / "consensus.key").exists(), "a key is never overwritten"
    again = CliRunner().invoke(main, ["k8s", "init", str(folder), f"--manifests={K8S}"])
    assert again.exit_code == 0, again.output
    assert secrets(render.__wrapped__(folder)) == after


def test_the_old_claims_go_with_their_pod_and_after_the_permit_for_the_new_key() -> None:
    """A pod of the old key that finds no volumes must not find a permit for it, nor two be away at once."""
    lines = told(SLOT)

    def place(text: str) -> int:
        (found,) = [number for number, line in enumerate(lines) if text in line]
        return found

    order = [
        "authority rotate", "k8s permit", "apply -f DIR/first-start.yaml",
        "delete pvc --wait=false data-authority-2 guard-authority-2", "apply -k DIR",
        "rollout status statefulset/authority", "authority ready", "delete -f DIR/first-start.yaml",
    ]  # fmt: skip
    assert sorted(order, key=place) == order


def test_nothing_is_scaled_that_the_next_apply_would_scale_back() -> None:
    assert "scale statefulset authority" not in DOCUMENTED


def test_an_authority_that_was_removed_is_taken_out_of_its_kustomization(
    folders: dict[str, Path],
) -> None:
    folder = folders["seven"].parent / "six"
    shutil.copytree(folders["seven"], folder)
    path = folder / "kustomization.yaml"
    document: dict[str, Any] = yaml.safe_load(path.read_text())
    (patch,) = [
        one
        for one in document["patches"]
        if "name: authority\n" in one["patch"] and "replicas" in one["patch"]
    ]
    change = yaml.safe_load(patch["patch"])
    change["spec"]["replicas"] -= 1
    sources = change["spec"]["template"]["spec"]["volumes"][0]["projected"]["sources"]
    assert sources.pop()["secret"]["name"] == "authority-7"
    patch["patch"] = yaml.safe_dump(change)
    path.write_text(yaml.safe_dump(document))
    workload = render(folder).get("StatefulSet", "authority")
    (keys,) = [
        one["projected"]["sources"]
        for one in workload["spec"]["template"]["spec"]["volumes"]
        if one["name"] == "keys"
    ]
    assert workload["spec"]["replicas"] == len(keys) == 6


def test_what_prometheus_selects_by_its_release_is_labelled_as_it_is_told(
    folders: dict[str, Path],
) -> None:
    (written,) = [one for one in documented() if "release" in str(one)]
    folder = folders["prod"].parent / "watched"
    folder.mkdir()
    made = {"resources": ["../prod"], "patches": written["patches"]}
    (folder / "kustomization.yaml").write_text(yaml.safe_dump(made))
    deployment = render(folder)
    labelled = {one["kind"] for one in deployment.objects if "release" in one["metadata"].get("labels", {})}
    assert labelled == {"PodMonitor", "PrometheusRule"}
    monitor = deployment.get("PodMonitor", "p2pledger")
    assert f'up{{job="{monitor["metadata"]["name"]}"}}' in DOCUMENTED


def test_how_long_an_edge_nodes_disk_lasts_is_what_its_claim_and_a_record_make_of_it(
    rendered: Callable[[str], Rendered],
) -> None:
    """Dropping bodies makes a chain grow slower; nothing makes it stop."""
    (record,) = re.findall(
        r"takes (\d+) bytes of disk instead of", (ROOT / "docs" / "OPERATIONS.md").read_text()
    )
    (said,) = re.findall(r"([\d,]+) records a second fill its (\d+) GiB in (\d+) days", DOCUMENTED)
    per_s, gib, days = (int(one.replace(",", "")) for one in said)
    spec = template(rendered("edge").get("DaemonSet", "edge"))["spec"]
    (claim,) = [one["ephemeral"]["volumeClaimTemplate"] for one in spec["volumes"] if one["name"] == "data"]
    assert claim["spec"]["resources"]["requests"]["storage"] == f"{gib}Gi"
    assert days == gib * 2**30 // (int(record) * per_s * 86_400)
