"""A deployment's folder: made offline, made once, and each node's keys where its own pod is given them."""

import json
import shutil
import tomllib
from pathlib import Path
from typing import Any

import pytest
import yaml
from click.testing import CliRunner, Result
from p2pledger import __version__
from p2pledger.cli import main
from p2pledger.kubernetes.overlay import image_entry
from p2pledger.network.host import peer_id_of
from p2pledger.node.config import load_configuration
from p2pledger.node.genesis_file import load_genesis
from p2pledger.signer.keyfile import KeyFileRefused, SecretRole, load_key_file, read_public_key
from p2pledger.testnet.directory import open_directory

ROOT = Path(__file__).resolve().parents[3]
MANIFESTS = f"--manifests={ROOT / 'deploy' / 'k8s'}"
DIGEST = "registry.example/city@sha256:" + "a" * 64
NODES = ["authority-1", "authority-2", "authority-3", "authority-4", "gateway-1", "gateway-2"]


def k8s(*arguments: object) -> Result:
    return CliRunner().invoke(main, ["k8s", *map(str, arguments), MANIFESTS])


@pytest.fixture(scope="module")
def dev(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("k8s") / "dev"
    done = k8s("init", folder)
    assert done.exit_code == 0, done.output
    assert f"kubectl apply -k {folder}" in done.output
    (folder / "said.txt").write_text(done.output)
    return folder


@pytest.fixture(scope="module")
def consortium(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("k8s") / "consortium"
    done = k8s("init", folder, "--overlay=consortium", "--namespace=city", "--chain-id=city")
    assert done.exit_code == 0, done.output
    return folder


def document(folder: Path, name: str = "kustomization.yaml") -> dict[str, Any]:
    return yaml.safe_load((folder / name).read_text())


def snapshot(folder: Path) -> dict[Path, bytes]:
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_ids_come_from_the_keys_and_peers_from_the_pods_names(dev: Path) -> None:
    identities = {}
    for name in NODES:
        home = dev / "net" / name
        passphrase = (home / "passphrase").read_bytes()
        identity = load_key_file(home / "identity.key", SecretRole.IDENTITY, passphrase)
        identities[name] = peer_id_of(identity.secret)
    genesis = load_genesis(dev / "net" / "genesis.json")
    assert [member.peer for member in genesis.authorities.members] == [identities[name] for name in NODES[:4]]
    assert [gateway.peer for gateway in genesis.gateways] == [identities[name] for name in NODES[4:]]
    said = (dev / "said.txt").read_text()
    for name in NODES:
        assert f"{name:<12} /dns4/{name}.p2p.p2pledger.svc/tcp/7160/p2p/{identities[name]}\n" in said
        peers = load_configuration(dev / "net" / name / "node.toml", {}).network.peers
        assert list(peers) == [
            f"/dns4/{other}.p2p.p2pledger.svc/tcp/7160/p2p/{identities[other]}"
            for other in NODES
            if other != name
        ]


def test_each_node_has_a_secret_with_its_own_files_and_no_other(dev: Path) -> None:
    made = {one["name"]: one["files"] for one in document(dev)["secretGenerator"]}
    assert list(made) == NODES
    for name, files in made.items():
        role = "consensus" if name.startswith("authority") else "transaction"
        assert files == [f"net/{name}/{file}" for file in ("identity.key", f"{role}.key", "passphrase")]
        assert all((dev / file).stat().st_mode & 0o077 == 0 for file in files)
    assert "organisations" not in (dev / "kustomization.yaml").read_text(), "admin keys stay outside"


def opens(passphrase: Path, key: Path) -> bool:
    """Whether the content of a file opens a key."""
    try:
        load_key_file(key, read_public_key(key)[0], passphrase.read_bytes())
    except KeyFileRefused:
        return False
    return True


def test_the_passphrase_in_a_secret_opens_the_keys_in_it_and_no_other(dev: Path, consortium: Path) -> None:
    members = {number: consortium / f"member-{number}" for number in range(1, 5)}
    for root, folders in [(dev, [dev]), (consortium, list(members.values()))]:
        secrets = {
            one["name"]: [folder / file for file in one["files"]]
            for folder in folders
            for one in document(folder)["secretGenerator"]
        }
        passphrases = [file for files in secrets.values() for file in files if file.name == "passphrase"]
        assert len({file.read_bytes() for file in passphrases}) == len(secrets) == len(passphrases)
        keys = list((root / "net").rglob("*.key"))
        for name in ("authority-2", "gateway-1"):
            *own, passphrase = secrets[name]
            opened = {key.read_bytes() for key in keys if opens(passphrase, key)}
            assert opened == {key.read_bytes() for key in own}, name


def test_each_admin_key_has_a_passphrase_of_its_own_and_that_is_in_no_secret(
    dev: Path, consortium: Path
) -> None:
    for root in (dev, consortium):
        net, made = root / "net", open_directory(root / "net")
        assert not (net / "passphrase").exists()
        admins = sorted((net / "organisations").glob("*.key"))
        assert len(admins) == len(made.genesis.organisations) >= 4
        for admin, organisation in zip(admins, made.genesis.organisations, strict=True):
            assert admin.stem == organisation.id and (net / "organisations").stat().st_mode & 0o077 == 0
            assert made.admin(organisation.id).public_key == organisation.admin_keys[0]
        passphrases = [path.read_bytes() for path in net.rglob("*passphrase")]
        assert len(set(passphrases)) == len(passphrases) == len(admins) + len(made.nodes)
    for number in range(1, 5):
        folder = consortium / f"member-{number}"
        assert opens(folder / "admin.passphrase", folder / "admin.key")
        assert (folder / "admin.passphrase").stat().st_mode & 0o077 == 0
        assert not opens(folder / "admin.passphrase", consortium / f"member-{1 + number % 4}" / "admin.key")
        files = {file for one in document(folder)["secretGenerator"] for file in one["files"]}
        assert not [file for file in files if "admin" in file]


def test_the_load_finds_the_keys_of_the_gateways(dev: Path) -> None:
    made = open_directory(dev / "net")
    assert [one.signer.public_key for one in made.gateways()] == [one.key for one in made.genesis.gateways]


def test_an_image_stands_where_an_upgrade_names_another(dev: Path, consortium: Path) -> None:
    for folder in (dev, consortium / "member-1"):
        (entry, _) = document(folder)["images"]
        assert entry == {"name": "p2pledger", "newName": "p2pledger", "newTag": __version__}


def test_no_guard_is_made_where_it_does_not_stay(dev: Path) -> None:
    assert not list(dev.rglob("guard*"))


def test_the_permit_names_every_authority_and_only_a_trial_applies_it_by_itself(
    dev: Path, consortium: Path
) -> None:
    assert "first-start.yaml" in document(dev)["resources"]
    assert "first-start" not in (consortium / "member-1" / "kustomization.yaml").read_text()
    assert (consortium / "member-1" / "first-start.yaml").exists()
    permit = json.loads(document(dev, "first-start.yaml")["data"]["permit.json"])
    keys = [read_public_key(dev / "net" / name / "consensus.key")[1].hex() for name in NODES[:4]]
    assert permit["keys"] == keys
    assert permit["genesis"] == load_genesis(dev / "net" / "genesis.json").hash.hex()


def test_run_again_it_changes_nothing_and_writes_what_is_missing(dev: Path) -> None:
    before = snapshot(dev)
    assert k8s("init", dev).exit_code == 0
    assert snapshot(dev) == before
    text = (dev / "kustomization.yaml").read_text()
    (dev / "kustomization.yaml").unlink()
    assert k8s("init", dev).exit_code == 0
    assert (dev / "kustomization.yaml").read_text() == text
    (dev / "kustomization.yaml").write_text(text + "# ours\n")
    assert k8s("init", dev).exit_code == 0
    assert (dev / "kustomization.yaml").read_text() == text + "# ours\n"
    (dev / "kustomization.yaml").write_text(text)


@pytest.mark.parametrize("other", ["--authorities=5", "--gateways=1", "--chain-id=city", "--namespace=other"])
def test_another_request_is_refused_and_keys_stay(dev: Path, other: str) -> None:
    before = snapshot(dev)
    done = k8s("init", dev, other)
    assert done.exit_code == 1 and done.output.startswith("Error: other_deployment: ")
    assert "choose another DIR" in done.output
    assert snapshot(dev) == before


def test_a_folder_with_something_else_is_refused(tmp_path: Path) -> None:
    (tmp_path / "net").mkdir()
    (tmp_path / "net" / "letter.txt").write_text("dear")
    done = k8s("init", tmp_path)
    assert done.exit_code == 1 and done.output.startswith("Error: directory_taken: ")


def test_no_manifests_no_keys(tmp_path: Path) -> None:
    done = CliRunner().invoke(main, ["k8s", "init", str(tmp_path / "new"), f"--manifests={tmp_path}"])
    assert done.exit_code == 1 and done.output.startswith("Error: no_manifests: ")
    assert not (tmp_path / "new").exists()


def test_no_image_that_moves_and_no_keys_then(tmp_path: Path) -> None:
    done = k8s("init", tmp_path / "new", "--image=city")
    assert done.exit_code == 2 and "write NAME:TAG" in done.output
    assert not (tmp_path / "new").exists()


def test_in_earnest_the_image_has_a_digest_and_keys_come_from_a_vault(tmp_path: Path) -> None:
    done = k8s("init", tmp_path / "prod", "--overlay=prod", "--image=city:1")
    assert done.exit_code == 1 and done.output.startswith("Error: no_digest: ")
    assert not (tmp_path / "prod").exists()
    done = k8s("init", tmp_path / "prod", "--overlay=prod", "--authorities=7", f"--image={DIGEST}")
    assert done.exit_code == 0, done.output
    made = document(tmp_path / "prod")
    assert "secretGenerator" not in made
    extra = list(yaml.safe_load_all((tmp_path / "prod" / "external-secrets.yaml").read_text()))
    assert [one["metadata"]["name"] for one in extra] == ["authority-5", "authority-6", "authority-7"]
    budgets = [yaml.safe_load(patch["patch"]) for patch in made["patches"]]
    (budget,) = [patch for patch in budgets if patch["kind"] == "PodDisruptionBudget"]
    assert budget["spec"] == {"maxUnavailable": 2}
    assert {entry["digest"] for entry in made["images"]} == {"sha256:" + "a" * 64}


def test_an_organisation_is_given_its_own_keys_and_nobody_elses(consortium: Path) -> None:
    for number in range(1, 5):
        folder = consortium / f"member-{number}"
        assert {path.name for path in folder.rglob("*.key")} == {
            "admin.key", "identity.key", "consensus.key", "transaction.key",
        }  # fmt: skip
        assert {path.name for path in folder.iterdir() if path.is_dir()} == {
            f"authority-{number}", f"gateway-{number}",
        }  # fmt: skip
        assert set((folder / ".gitignore").read_text().split()) == {
            "/admin.key", "/admin.passphrase", f"/authority-{number}", f"/gateway-{number}",
        }  # fmt: skip
        made = document(folder)
        assert made["namespace"] == f"city-{number}"
        permit = json.loads(document(folder, "first-start.yaml")["data"]["permit.json"])
        own = read_public_key(folder / f"authority-{number}" / "consensus.key")[1].hex()
        assert permit["keys"] == [own]
        configuration = tomllib.loads((folder / f"gateway-{number}" / "node.toml").read_text())
        peers = configuration["network"]["peers"]
        assert [peer.partition("/p2p/")[0] for peer in peers] == [
            f"/dns4/authority-{n}.p2p.city-{n}.svc/tcp/7160" for n in range(1, 5)
        ], "a gateway has no address beyond its cluster: it dials, and nobody dials it"
    genesis = load_genesis(consortium / "net" / "genesis.json")
    assert [member.organisation for member in genesis.authorities.members] == [
        f"member-{n}" for n in range(1, 5)
    ]
    assert {gateway.organisation for gateway in genesis.gateways} == {f"member-{n}" for n in range(1, 5)}


def test_a_node_comes_from_a_home_that_its_organisation_made(consortium: Path, tmp_path: Path) -> None:
    genesis, passphrase = consortium / "net" / "genesis.json", tmp_path / "passphrase"
    passphrase.touch(mode=0o600)
    passphrase.write_text("known to the museum")
    home, options = tmp_path / "home", ["--role=authority", f"--passphrase-file={passphrase}"]
    made = CliRunner().invoke(main, ["init", f"--dir={home}", *options, f"--genesis={genesis}"])
    assert made.exit_code == 0, made.output
    asked = [
        "node", tmp_path / "museum", f"--home={home}", "--number=5", f"--passphrase-file={passphrase}",
        f"--genesis={genesis}", "--namespace=museum",
    ]  # fmt: skip
    done = k8s(*asked)
    assert done.exit_code == 0, done.output
    (secret,) = document(tmp_path / "museum")["secretGenerator"]
    assert secret["name"] == "authority-5"
    patches = [yaml.safe_load(one["patch"]) for one in document(tmp_path / "museum")["patches"]]
    deleted = {(one["kind"], one["metadata"]["name"]) for one in patches if one.get("$patch") == "delete"}
    assert {("Service", "api"), ("Ingress", "api"), ("StatefulSet", "gateway")} <= deleted
    before = snapshot(tmp_path / "museum")
    assert k8s(*asked).exit_code == 0 and snapshot(tmp_path / "museum") == before

    other = tmp_path / "other"
    shutil.copytree(home, other)
    shutil.copyfile(consortium / "net" / "authority-1" / "identity.key", other / "identity.key")
    done = k8s(*[str(part).replace(str(home), str(other)) for part in asked])
    assert done.exit_code == 1 and done.output.startswith("Error: keys_exist: ")
    assert snapshot(tmp_path / "museum") == before

    (other / "node.toml").unlink()
    done = k8s(*[str(part).replace(str(home), str(other)) for part in asked])
    assert done.exit_code == 1 and done.output.startswith("Error: not_a_home: ")


def test_a_permit_is_written_anew_for_the_authorities_that_are_named(dev: Path, tmp_path: Path) -> None:
    asked = [
        "k8s",
        "permit",
        str(tmp_path),
        "--namespace=p2pledger",
        f"--genesis={dev / 'net' / 'genesis.json'}",
    ]
    done = CliRunner().invoke(main, [*asked, f"--home={dev / 'net' / 'authority-3'}"])
    assert done.exit_code == 0, done.output
    permit = json.loads(document(tmp_path, "first-start.yaml")["data"]["permit.json"])
    assert permit["keys"] == [read_public_key(dev / "net" / "authority-3" / "consensus.key")[1].hex()]
    done = CliRunner().invoke(main, [*asked, f"--home={dev / 'net' / 'gateway-1'}"])
    assert done.exit_code == 1 and done.output.startswith("Error: not_a_home: ")


@pytest.mark.parametrize(
    ("image", "entry"),
    [
        ("city:1.2", {"newName": "city", "newTag": "1.2"}),
        ("registry.example:5000/city:1.2", {"newName": "registry.example:5000/city", "newTag": "1.2"}),
        (DIGEST, {"newName": "registry.example/city", "digest": "sha256:" + "a" * 64}),
        (f"city:1@sha256:{'b' * 64}", {"newName": "city", "digest": "sha256:" + "b" * 64}),
    ],
)
def test_an_image_is_read_as_an_engine_reads_it(image: str, entry: dict[str, str]) -> None:
    assert image_entry("p2pledger", image) == {"name": "p2pledger"} | entry


@pytest.mark.parametrize(
    "image", ["", "city", "registry.example:5000/city", "@sha256:12", "city@sha256:" + "g" * 64, "city:"]
)
def test_what_is_no_image_is_refused(image: str) -> None:
    with pytest.raises(ValueError, match="write NAME:TAG or NAME@sha256:DIGEST"):
        image_entry("p2pledger", image)
