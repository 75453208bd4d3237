"""A home is made once: what is in it is never made over, the guard least of all."""

import json
import shutil

import pytest
from p2pledger.codec import to_json
from p2pledger.node.config import Role
from p2pledger.node.home import GUARD, prepare
from tests.unit.node.solo import genesis


def test_an_authority_that_lost_its_guard_gets_no_new_one_by_init(tmp_path):
    """An empty guard for a key that has signed is a licence to contradict it."""
    home, passphrase, ledger = tmp_path / "home", tmp_path / "passphrase", tmp_path / "genesis.json"
    passphrase.write_text("pass\n")
    passphrase.chmod(0o600)
    ledger.write_text(json.dumps(to_json(genesis())))

    def init():
        return prepare(home, Role.AUTHORITY, passphrase, ledger, "/ip4/127.0.0.1/tcp/0", ())

    init()
    assert (home / GUARD / "guard.db").exists()
    shutil.rmtree(home / GUARD)
    with pytest.raises(FileExistsError, match="a lost guard is not made anew"):
        init()
    assert not (home / GUARD).exists()
