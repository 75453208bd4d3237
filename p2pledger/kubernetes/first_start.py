"""A permit to make the guards of keys that have never signed, and what a pod does by it. Floor 9.

A guard has to be made on the volume that it stays on, and an empty volume says nothing: it may be a new
one, or what is left of a guard that was lost. An empty guard for a key that has signed is a licence to
contradict itself. So making one takes a permit that names ledger and keys and ends soon. It is applied once,
by hand, beside the rest, and removed when the authorities run.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from p2pledger.chain.genesis import Genesis
from p2pledger.kubernetes.refusals import Refusal, Refused
from p2pledger.node.config import Configuration, Role
from p2pledger.signer.guardfile import GUARD_FILE, GuardFile
from p2pledger.signer.keyfile import read_public_key
from p2pledger.storage.sqlite import CHAIN_FILE
from p2pledger.types import Hash, Millis, PublicKey

PERMIT_BYTES_MAX = 16 * 1024


@dataclass(frozen=True)
class Permit:
    """Which guards may be made, on which ledger, and until when."""

    genesis_hash: Hash
    keys: tuple[PublicKey, ...]
    until_ms: Millis

    def to_json(self) -> str:
        """Its text, as a pod is given it."""
        keys = [key.hex() for key in self.keys]
        return json.dumps({"genesis": self.genesis_hash.hex(), "keys": keys, "until_ms": self.until_ms})

    def allows(self, key: PublicKey, genesis: Genesis, now_ms: Millis) -> bool:
        """Whether the guard of this key may be made now."""
        return self.genesis_hash == genesis.hash and key in self.keys and now_ms < self.until_ms


def load_permit(path: Path) -> Permit | None:
    """The permit of a file; None when there is none, or it is not a permit."""
    try:
        with path.open("rb") as file:
            fields = json.loads(file.read(PERMIT_BYTES_MAX))
        keys: Sequence[str] = fields["keys"]
        return Permit(
            Hash(bytes.fromhex(fields["genesis"])),
            tuple(PublicKey(bytes.fromhex(key)) for key in keys),
            Millis(int(fields["until_ms"])),
        )
    except (OSError, ValueError, KeyError, TypeError):
        return None


def prepare_guard(
    configuration: Configuration, genesis: Genesis, permit: Permit | None, now_ms: Millis
) -> str:
    """What has to be done about a guard before its node starts; in words, what was done.

    A guard that is there is left alone. A node that has a chain and no guard has lost it: it follows. One
    that has neither is new, or has lost both, and only a permit can tell.
    Raises: Refused (the node shall wait), KeyFileRefused, Fatal.
    """
    node, keys = configuration.node, configuration.keys
    if node.role is not Role.AUTHORITY:
        return "a gateway has no guard"
    assert node.guard_dir is not None and keys.consensus is not None, "the configuration was checked"
    if (node.guard_dir / GUARD_FILE).exists():
        return "the guard is there"
    if (node.data_dir / CHAIN_FILE).exists():
        return "the guard is lost: this authority follows and does not vote; replace its key by governance"
    _, public = read_public_key(keys.consensus)
    key = PublicKey(public)
    if permit is None or not permit.allows(key, genesis, now_ms):
        raise Refused(
            Refusal.FIRST_START_NOT_PERMITTED,
            f"neither guard nor chain are on the volumes, and nothing permits a guard for {key.hex()}",
            "if this key has never signed, apply first-start.yaml (`p2pledger k8s permit` writes a new one);"
            " if it has, or nobody knows, replace the key by governance",
        )
    GuardFile.create(node.guard_dir, key, genesis.hash)
    return "a guard was made for a key that has never signed"
