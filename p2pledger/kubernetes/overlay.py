"""The kustomization of one deployment over one of the overlays of `deploy/k8s`, as text. Pure. Floor 9.

It names the nodes, gives each pod its keys, and carries what differs from deployment to deployment:
namespace, image, chain, how many may be away. All else stands in the overlay.
"""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import yaml

from p2pledger.kubernetes.first_start import Permit
from p2pledger.node.config import Role

NET = "net"
"""The ConfigMap with the genesis file and a configuration for each pod."""
FIRST_START = "first-start"
PERMIT = "permit.json"
EDGE = "edge.toml"
EXTERNAL_SECRETS = "external-secrets.yaml"
PLACEHOLDER = "registry.example/p2pledger"
"""What the overlay `prod` calls the image until somebody names it."""
DEV = "dev"
"""The overlay of which one command is all that is applied: the permit is part of it."""
VAULT = "prod"
"""The overlay whose keys come from a vault, and not from files beside the kustomization."""
IN_VAULT_OVERLAY = frozenset(
    {"authority-1", "authority-2", "authority-3", "authority-4", "gateway-1", "gateway-2"}
)
"""Nodes whose ExternalSecrets stand in that overlay; others get theirs here."""

HEAD = "# Made by `p2pledger k8s`, which leaves it alone from now on: change it as you like.\n"

_IMAGE = re.compile(
    r"((?:[\w.-]+(?::[0-9]{1,5})?/)?[a-z0-9][a-z0-9._/-]*)(?::([\w][\w.-]{0,127}))?(?:@(sha256:[0-9a-f]{64}))?"
)
_SECRET_OF = {Role.AUTHORITY: "consensus.key", Role.GATEWAY: "transaction.key"}
_OF_ROLE = {
    Role.AUTHORITY: (
        ("StatefulSet", "authority"),
        ("PodDisruptionBudget", "authority"),
        ("Service", "authority-public"),
    ),
    Role.GATEWAY: (
        ("StatefulSet", "gateway"),
        ("PodDisruptionBudget", "gateway"),
        ("Service", "api"),
        ("Ingress", "api"),
    ),
}
"""What the overlay of one organisation has for each role, and leaves out where it has no such node."""

_API_VERSIONS = {
    "StatefulSet": "apps/v1",
    "PodDisruptionBudget": "policy/v1",
    "Service": "v1",
    "Ingress": "networking.k8s.io/v1",
}


@dataclass(frozen=True)
class Pod:
    """One node as a pod: its name is its role and its number."""

    role: Role
    number: int
    folder: str
    """Where its key files and its configuration lie, from the kustomization on."""

    @property
    def name(self) -> str:
        """Of the pod, of its Secret and of its configuration."""
        return f"{self.role.value}-{self.number}"

    @property
    def files(self) -> tuple[str, ...]:
        """What it is given of its own, and nobody else."""
        return ("identity.key", _SECRET_OF[self.role], "passphrase")


@dataclass(frozen=True)
class Deployment:
    """What is run in one namespace."""

    overlay: str
    namespace: str
    chain_id: str
    genesis: str
    """The genesis file, from the kustomization on."""
    pods: tuple[Pod, ...]
    failing_max: int
    """How many authorities of the ledger may be away: f."""
    image: str

    def of(self, role: Role) -> list[Pod]:
        """Its pods of one role, in order."""
        return sorted((pod for pod in self.pods if pod.role is role), key=lambda pod: pod.number)


def kustomization(deployment: Deployment, overlay: str, permit: str = "") -> str:
    """The kustomization; `overlay` is the way to the overlay's folder from where it will lie.

    `permit`: the file of a permit that is applied with the rest.
    """
    configurations = [f"{pod.name}.toml={pod.folder}/node.toml" for pod in deployment.pods]
    if gateways := deployment.of(Role.GATEWAY):
        configurations.append(f"{EDGE}={gateways[0].folder}/node.toml")
    document: dict[str, Any] = {
        "apiVersion": "kustomize.config.k8s.io/v1beta1",
        "kind": "Kustomization",
        "namespace": deployment.namespace,
        "resources": [overlay, *filter(None, [permit])],
        "labels": [{"pairs": {"p2pledger.io/chain": deployment.chain_id}, "includeTemplates": True}],
        "generatorOptions": {"immutable": True, "labels": {"app.kubernetes.io/part-of": "p2pledger"}},
        "configMapGenerator": [
            {"name": NET, "files": [f"genesis.json={deployment.genesis}", *configurations]}
        ],
    }
    if deployment.overlay != VAULT:
        document["secretGenerator"] = [
            {"name": pod.name, "type": "Opaque", "files": [f"{pod.folder}/{file}" for file in pod.files]}
            for pod in deployment.pods
        ]
    elif missing_secrets(deployment):
        document["resources"].append(EXTERNAL_SECRETS)
    document["patches"] = [{"patch": _text(patch)} for patch in _patches(deployment)]
    document["images"] = [image_entry(name, deployment.image) for name in ("p2pledger", PLACEHOLDER)]
    return HEAD + _text(document)


def missing_secrets(deployment: Deployment) -> list[Pod]:
    """The pods whose ExternalSecret is not in the overlay."""
    return [pod for pod in deployment.pods if pod.name not in IN_VAULT_OVERLAY]


def external_secrets(pods: Iterable[Pod]) -> str:
    """ExternalSecrets for these pods, as those of the overlay `prod` are."""
    documents = [
        {
            "apiVersion": "external-secrets.io/v1",
            "kind": "ExternalSecret",
            "metadata": {"name": pod.name},
            "spec": {
                "refreshInterval": "1h",
                "secretStoreRef": {"kind": "ClusterSecretStore", "name": "vault"},
                "target": {"name": pod.name, "creationPolicy": "Owner", "deletionPolicy": "Retain"},
                "data": [
                    {"secretKey": file, "remoteRef": {"key": f"p2pledger/{pod.name}", "property": file}}
                    for file in pod.files
                ],
            },
        }
        for pod in pods
    ]
    return HEAD + "---\n".join(map(_text, documents))


def first_start(namespace: str, permit: Permit) -> str:
    """The ConfigMap that permits to make guards: applied once, by hand but for `dev`, then removed."""
    head = (
        "# Permits to make the guards of keys that have never signed. Apply it once, before or after the\n"
        "# rest, and delete it when all authorities are ready.\n"
    )
    document = {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": FIRST_START, "namespace": namespace},
        "data": {PERMIT: permit.to_json()},
    }
    return head + _text(document)


def image_entry(name: str, image: str) -> dict[str, str]:
    """Kustomize's entry that has `name` replaced by an image, as NAME, NAME:TAG or NAME@sha256:DIGEST.

    Raises: ValueError.
    """
    match = _IMAGE.fullmatch(image)
    if match is None or not (match[2] or match[3]):  # without both it is `latest`: another one tomorrow
        raise ValueError(f"{image!r} is not an image: write NAME:TAG or NAME@sha256:DIGEST")
    entry = {"name": name, "newName": match[1]}
    if match[3]:
        return entry | {"digest": match[3]}
    return entry | {"newTag": match[2]}


def has_digest(image: str) -> bool:
    """Whether an image is named by its digest."""
    match = _IMAGE.fullmatch(image)
    return match is not None and bool(match[3])


def _patches(deployment: Deployment) -> list[dict[str, Any]]:
    patches = []
    for role in Role:
        pods = deployment.of(role)
        if not pods:
            patches += [_deleted(kind, name) for kind, name in _OF_ROLE[role]]
            continue
        patches.append(_stateful_set(role, pods))
    if deployment.of(Role.AUTHORITY) and deployment.failing_max != 1:
        spec = {"maxUnavailable": deployment.failing_max}
        patches.append(_object("PodDisruptionBudget", "authority") | {"spec": spec})
    return patches


def _stateful_set(role: Role, pods: Sequence[Pod]) -> dict[str, Any]:
    sources = [
        {
            "secret": {
                "name": pod.name,
                "items": [{"key": file, "path": f"{pod.name}/{file}"} for file in pod.files],
            }
        }
        for pod in pods
    ]
    spec = {
        "replicas": len(pods),
        "ordinals": {"start": pods[0].number},
        "template": {"spec": {"volumes": [{"name": "keys", "projected": {"sources": sources}}]}},
    }
    return _object("StatefulSet", role.value) | {"spec": spec}


def _object(kind: str, name: str) -> dict[str, Any]:
    return {"apiVersion": _API_VERSIONS[kind], "kind": kind, "metadata": {"name": name}}


def _deleted(kind: str, name: str) -> dict[str, Any]:
    return {"$patch": "delete"} | _object(kind, name)


class _Readable(yaml.SafeDumper):
    """A text of several lines is written as such."""


def _literal(dumper: yaml.SafeDumper, text: str) -> yaml.ScalarNode:
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style="|" if "\n" in text else None)


_Readable.add_representer(str, _literal)


def _text(document: Any) -> str:
    return yaml.dump(document, Dumper=_Readable, sort_keys=False, width=110)
