import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from p2pledger.crypto import KeySigner
from p2pledger.signer import keyfile
from p2pledger.signer.keyfile import (
    KeyFileRefused,
    Secret,
    SecretRole,
    create_secret,
    is_private,
    load_key_file,
    read_passphrase,
    read_public_key,
    write_key_file,
)

PASSPHRASE = b"correct horse"
CHEAP = keyfile.SCRYPT_N_LEAST


@pytest.fixture
def path(tmp_path):
    return tmp_path / "key.json"


@pytest.mark.parametrize("role", SecretRole)
def test_a_secret_comes_back(path, role):
    secret = create_secret(role)
    write_key_file(path, secret, PASSPHRASE, scrypt_n=CHEAP)
    assert load_key_file(path, role, PASSPHRASE) == secret
    assert read_public_key(path) == (role, secret.public_key)
    assert path.stat().st_mode & 0o777 == 0o600
    assert secret.secret.hex() not in path.read_text()
    assert secret.secret not in path.read_bytes()


def test_public_keys_are_those_of_the_curves():
    seed = bytes(range(32))
    assert Secret(SecretRole.CONSENSUS, seed).public_key == KeySigner(seed).public_key
    identity = Ed25519PrivateKey.from_private_bytes(seed).public_key().public_bytes_raw()
    assert Secret(SecretRole.IDENTITY, seed).public_key == identity


def test_a_secret_is_not_shown_by_accident():
    secret = create_secret(SecretRole.CONSENSUS)
    assert secret.secret.hex() not in repr(secret)
    assert repr(secret.secret) not in repr(secret)


def test_two_files_of_one_secret_have_nothing_in_common_but_its_public_key(tmp_path):
    secret = create_secret(SecretRole.CONSENSUS)
    shown = []
    for name in ("a", "b"):
        write_key_file(tmp_path / name, secret, PASSPHRASE, scrypt_n=CHEAP)
        shown.append(json.loads((tmp_path / name).read_text()))
    assert shown[0]["kdf"]["salt"] != shown[1]["kdf"]["salt"]
    assert shown[0]["cipher"]["nonce"] != shown[1]["cipher"]["nonce"]
    assert shown[0]["cipher"]["ciphertext"] != shown[1]["cipher"]["ciphertext"]


def test_new_files_cost_a_guess_what_they_should(path):
    write_key_file(path, create_secret(SecretRole.CONSENSUS), PASSPHRASE)
    assert json.loads(path.read_text())["kdf"]["n"] == 2**15


@pytest.mark.parametrize("n", [CHEAP // 2, CHEAP + 1, keyfile.SCRYPT_N_MOST * 2])
def test_a_cost_out_of_bounds(path, n):
    with pytest.raises(ValueError, match="power of two"):
        write_key_file(path, create_secret(SecretRole.CONSENSUS), PASSPHRASE, scrypt_n=n)
    assert not path.exists()


def test_a_wrong_passphrase(path):
    write_key_file(path, create_secret(SecretRole.CONSENSUS), PASSPHRASE, scrypt_n=CHEAP)
    with pytest.raises(KeyFileRefused, match="passphrase is wrong"):
        load_key_file(path, SecretRole.CONSENSUS, b"incorrect horse")


def test_a_role_cannot_stand_for_another(path):
    write_key_file(path, create_secret(SecretRole.TRANSACTION), PASSPHRASE, scrypt_n=CHEAP)
    with pytest.raises(KeyFileRefused, match="a consensus key is needed"):
        load_key_file(path, SecretRole.CONSENSUS, PASSPHRASE)
    shown = json.loads(path.read_text())
    shown["role"] = "consensus"
    path.write_text(json.dumps(shown))
    with pytest.raises(KeyFileRefused, match="was changed"):
        load_key_file(path, SecretRole.CONSENSUS, PASSPHRASE)


def _flip(text: str) -> str:
    return ("1" if text[0] == "0" else "0") + text[1:]


@pytest.mark.parametrize(
    "change",
    [
        lambda s: s.update(version=2),
        lambda s: s.update(role="root"),
        lambda s: s.update(public_key=_flip(s["public_key"])),
        lambda s: s.pop("public_key"),
        lambda s: s["kdf"].update(n=s["kdf"]["n"] * 2),
        lambda s: s["kdf"].update(n=2**30),
        lambda s: s["kdf"].update(n=3_000),
        lambda s: s["kdf"].update(n="1024"),
        lambda s: s["kdf"].update(name="pbkdf2"),
        lambda s: s["kdf"].update(r=1),
        lambda s: s["kdf"].update(salt=_flip(s["kdf"]["salt"])),
        lambda s: s["cipher"].update(name="none"),
        lambda s: s["cipher"].update(nonce=_flip(s["cipher"]["nonce"])),
        lambda s: s["cipher"].update(nonce="00"),
        lambda s: s["cipher"].update(ciphertext=_flip(s["cipher"]["ciphertext"])),
        lambda s: s["cipher"].update(ciphertext=""),
        lambda s: s.update(cipher=None),
    ],
)
def test_a_changed_file(path, change):
    write_key_file(path, create_secret(SecretRole.CONSENSUS), PASSPHRASE, scrypt_n=CHEAP)
    shown = json.loads(path.read_text())
    change(shown)
    path.write_text(json.dumps(shown))
    with pytest.raises(KeyFileRefused):
        load_key_file(path, SecretRole.CONSENSUS, PASSPHRASE)


@pytest.mark.parametrize("data", [b"", b"{}", b"[]", b"null", b"\xff", b"[" * 4_000, b" " * 5_000])
def test_what_is_no_key_file(path, data):
    path.write_bytes(data)
    path.chmod(0o600)
    with pytest.raises(KeyFileRefused):
        load_key_file(path, SecretRole.CONSENSUS, PASSPHRASE)


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o660, 0o610])
def test_a_file_that_others_may_open(path, mode):
    write_key_file(path, create_secret(SecretRole.CONSENSUS), PASSPHRASE, scrypt_n=CHEAP)
    path.chmod(mode)
    with pytest.raises(KeyFileRefused, match="chmod 600"):
        load_key_file(path, SecretRole.CONSENSUS, PASSPHRASE)


@pytest.mark.parametrize("mode", range(0o1000))
def test_a_mounted_secret_may_be_read_by_its_group_and_a_file_of_ones_own_may_not(mode):
    is_mine = is_private(mode, 1_000, 1_000)
    assert is_mine == (mode & 0o077 == 0)
    assert is_private(mode, 0, 1_000) == (mode & 0o037 == 0)


POD_USER, FS_GROUP = 10_001, 20_002
READS = f"""
import os, sys
from pathlib import Path
from p2pledger.signer.keyfile import SecretRole, load_key_file
os.setgroups([{FS_GROUP}])
os.setgid({POD_USER})
os.setuid({POD_USER})
print(load_key_file(Path(sys.argv[1]), SecretRole.CONSENSUS, sys.argv[2].encode()).public_key.hex())
"""


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can be another user")
@pytest.mark.parametrize(("mode", "is_read"), [(0o440, True), (0o400, False), (0o460, False), (0o444, False)])
def test_a_secret_as_a_pod_sees_it(mode, is_read):
    """Of root and of the pod's group; read by a process that is another user and has that group besides."""
    with tempfile.TemporaryDirectory() as place:  # pytest's own directories are closed to other users
        Path(place).chmod(0o755)
        path, secret = Path(place) / "consensus.key", create_secret(SecretRole.CONSENSUS)
        write_key_file(path, secret, PASSPHRASE, scrypt_n=CHEAP)
        os.chown(path, 0, FS_GROUP)
        path.chmod(mode)
        command = [sys.executable, "-c", READS, str(path), PASSPHRASE.decode()]
        read = subprocess.run(command, capture_output=True, text=True)
    assert (read.returncode == 0) is is_read, read.stderr
    assert read.stdout.strip() == (secret.public_key.hex() if is_read else "")
    assert is_read or "KeyFileRefused" in read.stderr


def test_a_key_is_never_overwritten(path):
    write_key_file(path, create_secret(SecretRole.CONSENSUS), PASSPHRASE, scrypt_n=CHEAP)
    before = path.read_bytes()
    with pytest.raises(KeyFileRefused, match="exists already"):
        write_key_file(path, create_secret(SecretRole.CONSENSUS), PASSPHRASE, scrypt_n=CHEAP)
    assert path.read_bytes() == before


def test_an_umask_that_gives_everything_away(path):
    before = os.umask(0)
    try:
        write_key_file(path, create_secret(SecretRole.CONSENSUS), PASSPHRASE, scrypt_n=CHEAP)
    finally:
        os.umask(before)
    assert path.stat().st_mode & 0o777 == 0o600


def test_the_passphrase_from_a_file_or_the_environment(tmp_path):
    file = tmp_path / "passphrase"
    file.write_bytes(b"from the file\nnot this\n")
    file.chmod(0o600)
    environment = {keyfile.PASSPHRASE_VARIABLE: "from the environment"}
    assert read_passphrase(file, environment) == b"from the file"
    assert read_passphrase(None, environment) == b"from the environment"
    with pytest.raises(KeyFileRefused, match="no passphrase"):
        read_passphrase(None, {})
    file.write_bytes(b"\n")
    with pytest.raises(KeyFileRefused):
        read_passphrase(file, environment)
    file.chmod(0o644)
    with pytest.raises(KeyFileRefused, match="chmod 600"):
        read_passphrase(file, environment)
    with pytest.raises(KeyFileRefused):
        read_passphrase(tmp_path / "missing", environment)
