"""Key files: one secret each, encrypted under a passphrase. Floor 5.

JSON with the public key in clear and the secret under scrypt (RFC 7914) and AES-256-GCM; everything in
clear is authenticated with the secret, so that a file cannot be given another role or public key. Three
roles, never shared: what votes, what is dialled, and what signs transactions.
"""

import json
import os
import secrets
import stat
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum
from pathlib import Path
from typing import Any

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.kdf.scrypt import Scrypt

from p2pledger.crypto import KeySigner
from p2pledger.directories import sync

VERSION = 1
SECRET_BYTES = 32
FILE_BYTES_MAX = 4_096
PASSPHRASE_BYTES_MAX = 1_024
PASSPHRASE_VARIABLE = "P2PLEDGER_KEYS_PASSPHRASE"  # noqa: S105 - the name of it, not the passphrase

SCRYPT_N = 2**15
"""The cost of new files: 32 MB and about 0.1 s for each guess."""
SCRYPT_N_LEAST = 2**10
SCRYPT_N_MOST = 2**18
"""The most that a file may ask for when it is opened: 256 MB."""
_SCRYPT_R, _SCRYPT_P = 8, 1
_SALT_BYTES, _NONCE_BYTES = 16, 12


class KeyFileRefused(Exception):
    """A key file or passphrase that cannot be used. The message says how to mend it."""


class SecretRole(Enum):
    """What a secret is for."""

    CONSENSUS = "consensus"
    """secp256k1; signs votes."""
    IDENTITY = "identity"
    """The seed of the Ed25519 key that is the node's libp2p peer id."""
    TRANSACTION = "transaction"
    """secp256k1; signs transactions."""


@dataclass(frozen=True)
class Secret:
    """A secret in clear. Its text form does not show it."""

    role: SecretRole
    secret: bytes = field(repr=False)

    @property
    def public_key(self) -> bytes:
        """33 bytes, compressed (secp256k1); for an identity the 32 bytes of Ed25519."""
        if self.role is SecretRole.IDENTITY:
            return Ed25519PrivateKey.from_private_bytes(self.secret).public_key().public_bytes_raw()
        return KeySigner(self.secret).public_key


@dataclass(frozen=True)
class _Sealed:
    """The fields of a key file, checked for form."""

    role: SecretRole
    public_key: bytes
    n: int
    salt: bytes
    nonce: bytes
    ciphertext: bytes

    @property
    def in_clear(self) -> bytes:
        """What is authenticated beside the secret: everything that decides how it is used."""
        return json.dumps(
            [VERSION, self.role.value, self.public_key.hex(), self.n, self.salt.hex()], separators=(",", ":")
        ).encode()


def create_secret(role: SecretRole) -> Secret:
    """A new secret from the system's randomness."""
    while True:
        secret = Secret(role, secrets.token_bytes(SECRET_BYTES))
        try:
            secret.public_key  # noqa: B018
        except ValueError:  # not below the group's order: once in 2**128
            continue
        return secret


def write_key_file(path: Path, secret: Secret, passphrase: bytes, *, scrypt_n: int = SCRYPT_N) -> None:
    """Write a secret to a new file, durable when this returns, readable by its owner only.

    Raises: KeyFileRefused when there is such a file already or it cannot be written; ValueError for a
    cost outside SCRYPT_N_LEAST to SCRYPT_N_MOST or not a power of two.
    """
    if not _is_cost(scrypt_n):
        raise ValueError(f"scrypt's n is a power of two from {SCRYPT_N_LEAST} to {SCRYPT_N_MOST}")
    _check_passphrase(passphrase)
    salt, nonce = secrets.token_bytes(_SALT_BYTES), secrets.token_bytes(_NONCE_BYTES)
    sealed = _Sealed(secret.role, secret.public_key, scrypt_n, salt, nonce, b"")
    ciphertext = AESGCM(_key(sealed, passphrase)).encrypt(nonce, secret.secret, sealed.in_clear)
    shown = {
        "version": VERSION,
        "role": secret.role.value,
        "public_key": secret.public_key.hex(),
        "kdf": {"name": "scrypt", "n": scrypt_n, "r": _SCRYPT_R, "p": _SCRYPT_P, "salt": salt.hex()},
        "cipher": {"name": "aes-256-gcm", "nonce": nonce.hex(), "ciphertext": ciphertext.hex()},
    }
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "wb") as file:
            file.write(json.dumps(shown, indent=2).encode() + b"\n")
            file.flush()
            os.fsync(file.fileno())
        sync(path.parent)
    except FileExistsError:
        raise KeyFileRefused(
            f"{path} exists already: a key is never overwritten; move it away first"
        ) from None
    except OSError as error:
        raise KeyFileRefused(f"{path}: {error.strerror}") from error


def load_key_file(path: Path, role: SecretRole, passphrase: bytes) -> Secret:
    """The secret of a key file that must be of this role.

    Raises: KeyFileRefused when others may read the file, it is of another role, damaged, or the
    passphrase is wrong.
    """
    _check_passphrase(passphrase)
    sealed = _read(path)
    if sealed.role is not role:
        raise KeyFileRefused(f"{path} holds a {sealed.role.value} key, a {role.value} key is needed here")
    try:
        plain = AESGCM(_key(sealed, passphrase)).decrypt(sealed.nonce, sealed.ciphertext, sealed.in_clear)
        secret = Secret(role, plain)
        is_whole = secret.public_key == sealed.public_key
    except (InvalidTag, ValueError):
        is_whole = False
    if not is_whole:
        raise KeyFileRefused(f"{path}: the passphrase is wrong, or the file was changed")
    return secret


def read_public_key(path: Path) -> tuple[SecretRole, bytes]:
    """Role and public key of a key file as it claims them, without its passphrase. Raises: KeyFileRefused."""
    sealed = _read(path)
    return sealed.role, sealed.public_key


def read_passphrase(file: Path | None, environment: Mapping[str, str]) -> bytes:
    """The passphrase: the first line of a file if one is named, else the environment's.

    Raises: KeyFileRefused when there is none, or others may read the file.
    """
    if file is None:
        passphrase = environment.get(PASSPHRASE_VARIABLE, "").encode()
        if not passphrase:
            raise KeyFileRefused(f"no passphrase: name a passphrase file, or set {PASSPHRASE_VARIABLE}")
    else:
        lines = _read_private(file, PASSPHRASE_BYTES_MAX + 2).splitlines()
        passphrase = lines[0] if lines else b""
    _check_passphrase(passphrase)
    return passphrase


def _check_passphrase(passphrase: bytes) -> None:
    if not 1 <= len(passphrase) <= PASSPHRASE_BYTES_MAX:
        raise KeyFileRefused(f"a passphrase has 1 to {PASSPHRASE_BYTES_MAX} bytes")


def _is_cost(n: object) -> bool:
    return type(n) is int and SCRYPT_N_LEAST <= n <= SCRYPT_N_MOST and n & (n - 1) == 0


def _key(sealed: _Sealed, passphrase: bytes) -> bytes:
    return Scrypt(salt=sealed.salt, length=32, n=sealed.n, r=_SCRYPT_R, p=_SCRYPT_P).derive(passphrase)


def is_private(mode: int, owner: int, user: int) -> bool:
    """Whether a secret's file, which this user could open, is nobody else's to read.

    What a Secret of Kubernetes mounts belongs to root, and to the pod by its group (`fsGroup`), which nobody
    else is in: there the group may read. A file of our own needs no group, so there the group is others.
    """
    others = stat.S_IRWXO | (stat.S_IRWXG if owner == user else stat.S_IWGRP | stat.S_IXGRP)
    return not mode & others


def _read_private(path: Path, limit: int) -> bytes:
    try:
        with path.open("rb") as file:
            status = os.fstat(file.fileno())
            if not is_private(status.st_mode, status.st_uid, os.geteuid()):
                raise KeyFileRefused(
                    f"{path} is open to others than its owner: `chmod 600 {path}`, or, where it is mounted"
                    " and belongs to another user, mode 0440 and a group of its own"
                )
            data = file.read(limit + 1)
    except OSError as error:
        raise KeyFileRefused(f"{path}: {error.strerror}") from error
    if len(data) > limit:
        raise KeyFileRefused(f"{path} has more than {limit} bytes")
    return data


def _read(path: Path) -> _Sealed:
    try:
        return _parsed(json.loads(_read_private(path, FILE_BYTES_MAX)))
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise KeyFileRefused(f"{path} is not a key file of this software, or was changed") from error


def _parsed(shown: Any) -> _Sealed:
    kdf, cipher = shown["kdf"], shown["cipher"]
    sealed = _Sealed(
        role=SecretRole(shown["role"]),
        public_key=bytes.fromhex(shown["public_key"]),
        n=kdf["n"],
        salt=bytes.fromhex(kdf["salt"]),
        nonce=bytes.fromhex(cipher["nonce"]),
        ciphertext=bytes.fromhex(cipher["ciphertext"]),
    )
    is_known = (shown["version"], kdf["name"], kdf["r"], kdf["p"], cipher["name"]) == (
        VERSION,
        "scrypt",
        _SCRYPT_R,
        _SCRYPT_P,
        "aes-256-gcm",
    )
    if not is_known or not _is_cost(sealed.n) or len(sealed.nonce) != _NONCE_BYTES:
        raise ValueError("unknown version, cipher or cost")
    return sealed
