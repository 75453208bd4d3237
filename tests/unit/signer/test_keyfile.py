import json
import os

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from p2pledger.crypto import KeySigner
from p2pledger.signer import keyfile
from p2pledger.signer.keyfile import (
    KeyFileRefused,
    Secret,
    SecretRole,
    create_secret,
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
