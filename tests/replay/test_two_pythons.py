"""A chain with everything in it, executed again from genesis by other processes: everywhere the same."""

import json
import sqlite3
import subprocess
from dataclasses import replace
from hashlib import sha256
from pathlib import Path

import pytest
from p2pledger.chain.block import FinalBlock, evidence_root
from p2pledger.chain.vote import evidence_of
from p2pledger.codec import decode, encode, to_json
from p2pledger.ledger.modules import MEASURES, RULES
from p2pledger.storage.archive import Archive
from p2pledger.storage.rows import checksum_of
from p2pledger.storage.sqlite import CHAIN_FILE, SqliteStore
from p2pledger.types import Hash, Height, Signature
from tests.replay import interpreters, town
from tests.replay.interpreters import Interpreter

REPLAY_S = 120


@pytest.fixture(scope="module")
def story(tmp_path_factory):
    """The chain, its store open as a running node's is, and its genesis file beside it."""
    directory = tmp_path_factory.mktemp("town")
    built = town.build(directory)
    (directory / "genesis.json").write_text(json.dumps(to_json(built.genesis)))
    yield built
    built.store.close()


@pytest.fixture(scope="module")
def cache(request) -> Path:
    return request.config.cache.mkdir("replay")


def verify_elsewhere(story: town.Town, directory: Path, by: Interpreter, hash_seed: int):
    """As `verify` prints it, from CPython as WebAssembly, which is given what this process has read."""
    chain = directory / "chain.jsonl"
    archive = Archive(story.directory, story.genesis)
    with chain.open("w") as file:
        print(json.dumps(to_json(story.genesis)), file=file)
        for block, transactions in archive.blocks():
            print(json.dumps([encode(block).hex(), [one.encoded.hex() for one in transactions]]), file=file)
    archive.close()
    run = interpreters.ROOT / "tests" / "replay" / "wasm" / "run.cjs"
    return subprocess.run(
        [by.python, str(run), str(by.packages), str(interpreters.ROOT), str(chain)],
        env=by.environment(hash_seed),
        capture_output=True,
        text=True,
        timeout=REPLAY_S,
    )


def verify(directory: Path, *arguments: str, by: Interpreter | None = None, hash_seed: int = 0):
    """`p2pledger verify-chain` as a process."""
    python = by or interpreters.running()
    genesis = directory / "genesis.json"
    return subprocess.run(
        [python.python, "-W", "error", "-m", "p2pledger", "verify-chain", str(directory),
            "--genesis", str(genesis), *arguments],
        env=python.environment(hash_seed),
        capture_output=True,
        text=True,
        timeout=REPLAY_S,
    )  # fmt: skip


def stored_roots(story: town.Town) -> list[dict]:
    """What each header says."""
    return [
        {
            "height": header.height,
            "tx_root": header.tx_root.hex(),
            "state_root": header.state_root.hex(),
            "receipts_root": header.receipts_root.hex(),
            "next_set_hash": header.next_set_hash.hex(),
        }
        for header in (block.header for block in story.store.blocks(Height(1), story.height))
    ]


def copied(story: town.Town, directory: Path) -> sqlite3.Connection:
    """The chain as it is, in a directory of its own."""
    (directory / "genesis.json").write_bytes((story.directory / "genesis.json").read_bytes())
    copy = sqlite3.connect(directory / CHAIN_FILE, isolation_level=None)
    source = sqlite3.connect(story.directory / CHAIN_FILE)
    source.backup(copy)
    source.close()
    return copy


def put(copy: sqlite3.Connection, block: FinalBlock) -> None:
    """Another block in the place of the one of its height, as whoever owns the file can write it."""
    height, content = block.header.height, encode(block)
    copy.execute(
        "UPDATE blocks SET digest = ?, content = ?, checksum = ? WHERE height = ?",
        (block.header.digest, content, checksum_of(height, content), height),
    )


def test_the_chain_has_everything_in_it(story):
    bodies = [
        body.body
        for block in story.store.blocks(Height(1), story.height)
        for body in story.store.bodies(block.transaction_ids)
    ]
    assert {body.kind for body in bodies} == RULES.keys()
    proposed = [
        decode(RULES["gov.propose"].payload, b.payload).kind for b in bodies if b.kind == "gov.propose"
    ]
    assert set(proposed) | {"upgrade.plan"} == MEASURES.keys(), "an upgrade would be to rules nobody knows"
    assert len({authorities.hash for authorities in story.sets}) >= 4, "the authorities changed"
    assert {"not_entitled", "duplicate", "replayed", "over_budget"} <= set(story.refused)
    blocks = story.store.blocks(Height(1), story.height)
    assert any(block.evidence for block in blocks) and any(block.certificate is None for block in blocks)


@pytest.mark.parametrize(
    ("which", "hash_seed"),
    [("running", 0), ("running", 12345), ("another", 0), ("another", 12345), ("webassembly", 0)],
)
def test_every_root_comes_out_the_same(story, cache, tmp_path, which, hash_seed):
    """The other Python is one of this machine; where it has none, it is the one that is fetched."""
    before = sha256((story.directory / CHAIN_FILE).read_bytes()).digest()
    own = interpreters.running()
    by = {"running": lambda: own, "another": lambda: interpreters.another(cache)}.get(which, lambda: None)()
    if by is None:
        by = interpreters.webassembly(cache)
        done = verify_elsewhere(story, tmp_path, by, hash_seed)
    else:
        done = verify(story.directory, "--each", "--json", by=by, hash_seed=hash_seed)
    assert (by.version == own.version) is (which == "running")
    assert done.returncode == 0, done.stderr
    *roots, head = map(json.loads, done.stdout.splitlines())
    stored = stored_roots(story)
    assert len(stored) > 200 and roots == stored and head["roots"] == stored[-1]
    rows = sha256()
    for row in story.rows:
        for part in (row.name.encode(), row.key, row.value):
            rows.update(len(part).to_bytes(4, "big") + part)
    assert head["index_rows_hash"] == rows.hexdigest()
    assert head["python"].startswith(by.version + ".")
    assert head["digest"] == story.store.tip().header.digest.hex()
    assert head["certified_height"] == head["height"] == story.height
    assert sha256((story.directory / CHAIN_FILE).read_bytes()).digest() == before


def test_people_read_the_roots_and_that_all_is_well(story):
    done = verify(story.directory)
    assert done.returncode == 0
    root = stored_roots(story)[-1]["state_root"]
    assert f"state_root       {root}\n" in done.stdout and "Every block came out the same" in done.stdout


@pytest.mark.parametrize("name", ["state_root", "receipts_root", "next_set_hash"])
def test_the_first_block_with_another_root_is_named(story, tmp_path, name):
    """Its authorities have signed it, all of them, and the rules say something else."""
    height = 3 * town.EPOCH
    copy = copied(story, tmp_path)
    block = story.store.block(Height(height))
    header = replace(block.header, **{name: Hash(b"x" * 32)})
    put(copy, FinalBlock(header, block.transaction_ids, (), town.certified(header, story.sets[header.epoch])))
    copy.close()
    done = verify(tmp_path, "--each")
    assert done.returncode == 1 and len(done.stdout.splitlines()) == height - 1
    stored, found = (getattr(one, name).hex() for one in (header, block.header))
    said = f"Error: block {height}: its {name} is {stored}, and executing it gives {found}\n"
    assert done.stderr.endswith(said)


def test_signatures_are_not_believed(story, tmp_path):
    copy = copied(story, tmp_path)
    block = story.store.block(Height(12))
    forged = (*block.certificate.signatures[:-1], Signature(bytes(64)))
    put(copy, replace(block, certificate=replace(block.certificate, signatures=forged)))
    copy.close()
    done = verify(tmp_path)
    assert done.returncode == 1 and "Error: block 12: the signature of authority 2" in done.stderr
    assert verify(tmp_path, "--no-signatures").returncode == 0


def test_evidence_is_not_believed(story, tmp_path):
    copy = copied(story, tmp_path)
    block = next(one for one in story.store.blocks(Height(1), story.height) if one.evidence)
    (item,) = block.evidence
    forged = evidence_of(item.first, replace(item.second, signature=item.first.signature))
    header = replace(block.header, evidence_root=evidence_root((forged,)))
    certificate = town.certified(header, story.sets[header.epoch])
    put(copy, FinalBlock(header, block.transaction_ids, (forged,), certificate))
    copy.close()
    done = verify(tmp_path)
    assert done.returncode == 1 and "a signature inside evidence does not verify" in done.stderr


def test_a_chain_without_all_its_bodies_cannot_be_executed(story, tmp_path):
    copied(story, tmp_path).close()
    store = SqliteStore(tmp_path, story.genesis, story.machine.start())
    store.prune(Height(20), "nobody")
    store.close()
    done = verify(tmp_path)
    assert done.returncode == 2 and "were dropped here" in done.stderr


def test_what_is_no_chain_of_this_ledger_is_refused(story, tmp_path):
    (tmp_path / "genesis.json").write_text(json.dumps(to_json(story.genesis)))
    done = verify(tmp_path)
    assert done.returncode == 2 and "holds no chain" in done.stderr
    copied(story, tmp_path).close()
    other = replace(story.genesis, chain_id="other")
    (tmp_path / "genesis.json").write_text(json.dumps(to_json(other)))
    done = verify(tmp_path)
    assert done.returncode == 2 and "holds the ledger" in done.stderr


def test_a_nodes_home_says_where_its_chain_is(story, tmp_path):
    (tmp_path / "data").mkdir()
    copied(story, tmp_path / "data").close()
    (tmp_path / "node.toml").write_text('[node]\ndata_dir = "data"\ngenesis = "data/genesis.json"\n')
    python = interpreters.running()
    done = subprocess.run(
        [python.python, "-m", "p2pledger", "verify-chain", str(tmp_path), "--json"],
        env=python.environment(1),
        capture_output=True,
        text=True,
        timeout=REPLAY_S,
    )
    assert done.returncode == 0 and json.loads(done.stdout)["height"] == story.height
