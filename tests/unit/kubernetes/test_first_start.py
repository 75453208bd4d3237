"""A guard is made once, for a key that has never signed, while a permit says so; a lost one never again."""

import json
import time
from pathlib import Path

import pytest
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st
from p2pledger.cli import main
from p2pledger.kubernetes.first_start import Permit, load_permit, prepare_guard
from p2pledger.kubernetes.refusals import Refusal, Refused
from p2pledger.node.config import Configuration, load_configuration
from p2pledger.node.genesis_file import load_genesis
from p2pledger.signer.guardfile import GUARD_FILE, GuardFile
from p2pledger.signer.keyfile import read_public_key
from p2pledger.testnet.directory import Plan, create_directory
from p2pledger.types import Hash, Millis, PublicKey

NOW = Millis(1_800_000_000_000)


@pytest.fixture
def home(tmp_path: Path) -> Path:
    made = create_directory(tmp_path / "net", Plan(1, 1, 7_100), with_guards=False)
    assert not (made.path / "authority-1" / "guard").exists()
    return made.path / "authority-1"


def loaded(home: Path) -> Configuration:
    return load_configuration(home / "node.toml", {})


def permit_of(home: Path, **changed: object) -> Permit:
    genesis = load_genesis(loaded(home).node.genesis)
    key = PublicKey(read_public_key(home / "consensus.key")[1])
    fields = {"genesis_hash": genesis.hash, "keys": (key,), "until_ms": Millis(NOW + 1)} | changed
    return Permit(**fields)  # type: ignore[arg-type]


def prepare(home: Path, permit: Permit | None) -> str:
    return prepare_guard(loaded(home), load_genesis(loaded(home).node.genesis), permit, NOW)


def test_a_permit_makes_the_guard_once(home: Path) -> None:
    assert prepare(home, permit_of(home)) == "a guard was made for a key that has never signed"
    before = (home / "guard" / GUARD_FILE).read_bytes()
    assert prepare(home, permit_of(home)) == "the guard is there"
    assert prepare(home, None) == "the guard is there"
    assert (home / "guard" / GUARD_FILE).read_bytes() == before
    GuardFile(home / "guard", permit_of(home).keys[0], permit_of(home).genesis_hash).close()


@pytest.mark.parametrize(
    "changed",
    [
        {"genesis_hash": Hash(bytes(32))},
        {"keys": (PublicKey(b"\2" * 33),)},
        {"keys": ()},
        {"until_ms": NOW},
    ],
    ids=["another-ledger", "another-key", "no-key", "over"],
)
def test_any_other_permit_makes_none(home: Path, changed: dict[str, object]) -> None:
    for permit in (None, permit_of(home, **changed)):
        with pytest.raises(Refused) as refused:
            prepare(home, permit)
        assert refused.value.code is Refusal.FIRST_START_NOT_PERMITTED
        assert str(refused.value).startswith("first_start_not_permitted: neither guard nor chain")
        assert "replace the key by governance" in refused.value.cure
    assert not (home / "guard").exists()


def test_a_guard_that_is_lost_is_not_made_again_even_by_a_permit(home: Path) -> None:
    (home / "data").mkdir()
    (home / "data" / "chain.db").touch()
    assert "follows and does not vote" in prepare(home, permit_of(home))
    assert not (home / "guard").exists()


def test_a_gateway_has_none(home: Path) -> None:
    assert prepare(home.parent / "gateway-1", None) == "a gateway has no guard"


@given(
    st.builds(
        Permit,
        st.binary(min_size=32, max_size=32).map(Hash),
        st.lists(st.binary(min_size=33, max_size=33).map(PublicKey), max_size=20).map(tuple),
        st.integers(0, 2**53).map(Millis),
    )
)
def test_a_permit_is_read_as_it_was_written(tmp_path_factory: pytest.TempPathFactory, permit: Permit) -> None:
    file = tmp_path_factory.mktemp("permit") / "permit.json"
    file.write_text(permit.to_json())
    assert load_permit(file) == permit


@pytest.mark.parametrize(
    "text", ["", "{", "[]", "{}", '{"genesis": "zz", "keys": [], "until_ms": 1}', "\xff"]
)
def test_what_is_no_permit_permits_nothing(tmp_path: Path, text: str) -> None:
    (tmp_path / "permit.json").write_text(text, encoding="latin-1")
    assert load_permit(tmp_path / "permit.json") is None
    assert load_permit(tmp_path / "none.json") is None


def test_the_command_waits_or_goes_on_by_its_exit_code(home: Path) -> None:
    arguments = ["k8s", "guard", f"--config={home / 'node.toml'}", f"--permit={home / 'permit.json'}"]
    waits = CliRunner().invoke(main, arguments)
    assert waits.exit_code == 1 and "first_start_not_permitted" in waits.output
    until_ms = Millis(time.time_ns() // 1_000_000 + 60_000)
    (home / "permit.json").write_text(permit_of(home, until_ms=until_ms).to_json())
    assert json.loads((home / "permit.json").read_text())["until_ms"] == until_ms
    goes_on = CliRunner().invoke(main, arguments)
    assert goes_on.exit_code == 0 and "a guard was made" in goes_on.output
    (home / "node.toml").write_text("[node]\n")
    assert CliRunner().invoke(main, arguments).exit_code == 1
