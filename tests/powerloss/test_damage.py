"""A damaged page, anywhere in either file: a stop that says what to do, or answers that are right."""

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from random import Random
from typing import Any

import pytest
from p2pledger.errors import Fatal
from p2pledger.ledger.commitment import Commitment
from p2pledger.ledger.machine import IndexRow
from p2pledger.signer.guardfile import GUARD_FILE
from p2pledger.storage.sqlite import CHAIN_FILE, SqliteStore
from tests.powerloss.campaign import MEMORY
from tests.unit.signer import ballots
from tests.unit.storage.chains import GENESIS, Chain, start

PAGE_BYTES = 4_096
BLOCKS = 20
KEYS = [b"key %d" % i for i in range(300)]

Damage = Callable[[bytearray, Random], None]


def flip_a_bit(page: bytearray, random: Random) -> None:
    page[random.randrange(PAGE_BYTES)] ^= 1 << random.randrange(8)


def change_a_byte_of_its_head(page: bytearray, random: Random) -> None:
    page[random.randrange(200)] ^= random.randrange(1, 256)


def lose_a_sector(page: bytearray, random: Random) -> None:
    at = random.randrange(PAGE_BYTES // 512) * 512
    page[at : at + 512] = random.randbytes(512)


def lose_it(page: bytearray, random: Random) -> None:
    page[:] = bytes(PAGE_BYTES)


DAMAGES: list[Damage] = [flip_a_bit, change_a_byte_of_its_head, lose_a_sector, lose_it]


def damaged(content: bytes, random: Random) -> Iterator[tuple[str, bytes]]:
    """The file with each of its pages damaged in turn, in each of the ways."""
    for number in range(len(content) // PAGE_BYTES):
        for damage in DAMAGES:
            changed = bytearray(content)
            page = changed[number * PAGE_BYTES : (number + 1) * PAGE_BYTES]
            damage(page, random)
            changed[number * PAGE_BYTES : (number + 1) * PAGE_BYTES] = page
            if changed != content:
                yield f"page {number + 1}: {damage.__name__}", bytes(changed)


@pytest.fixture
def place(tmp_path, request) -> Iterator[Path]:
    """A directory where syncing costs nothing, if there is such a one."""
    made = MEMORY / f"{tmp_path.parent.name}-{tmp_path.name}" if MEMORY.exists() else tmp_path / "place"
    made.mkdir()
    yield made
    shutil.rmtree(made)


def opened(directory: Path) -> SqliteStore:
    return SqliteStore(directory, GENESIS, start())


def answers(ids: list) -> list[tuple[str, Callable[[SqliteStore], Any]]]:
    """Questions to a store, by name."""
    commitment = Commitment(GENESIS.parameters.state_buckets)
    asked: list[tuple[str, Callable[[SqliteStore], Any]]] = [
        ("tip", lambda store: store.tip()),
        ("blocks", lambda store: list(store.blocks(1, 100))),
        ("leaves", lambda store: list(store.result_leaves(0, 1_000))),
        ("some leaves", lambda store: list(store.result_leaves(7, 12))),
        ("consistency", lambda store: store.consistency(17)),
        ("update", lambda store: commitment.update(store, dict.fromkeys(KEYS[::7], b"new"))),
        ("located", lambda store: [store.locate(i) for i in ids[::3]]),
        ("used", lambda store: store.used(ids[::3])),
        ("receipts", lambda store: [store.receipt(i) for i in ids[::9]]),
        ("index", lambda store: store.scan("by_height", b"", b"", 1_000)),
    ]
    for key in (*KEYS[::11], b"absent", b"absent too"):
        asked.append((f"get {key!r}", lambda store, key=key: store.get(key)))
        asked.append((f"prove {key!r}", lambda store, key=key: commitment.prove(store, key)))
    return asked


def is_hidden(name: str, right: Any, given: Any) -> bool:
    """Whether damage hid rows from a question that finds them by an index of its own: docs/decisions."""
    if name == "index":
        return set(given) < set(right)
    if name == "used":
        return bool(given < right)
    if name in ("located", "receipts"):
        return all(one == other or not other for one, other in zip(right, given, strict=True))
    return False


def test_any_damaged_page_of_the_chain_stops_it_or_changes_no_answer(place):
    random, chain = Random(1), Chain()
    (place / "whole").mkdir()
    store = opened(place / "whole")
    ids = []
    for height in range(BLOCKS):
        step = chain.commit(
            store,
            [chain.transaction() for _ in range(3)],
            writes={key: random.randbytes(30) for key in random.sample(KEYS, 40)},
            index_rows=(IndexRow("by_height", b"%03d" % height, b"row"),),
        )
        ids += [transaction.id for transaction in step.transactions]
    questions = answers(ids)
    right = [ask(store) for _, ask in questions]
    store.close()
    stopped = hidden = tried = 0
    for what, content in damaged((place / "whole" / CHAIN_FILE).read_bytes(), random):
        tried += 1
        directory = place / str(tried)
        directory.mkdir()
        (directory / CHAIN_FILE).write_bytes(content)
        try:
            store = opened(directory)
        except Fatal:
            stopped += 1
            continue
        is_stopped = False
        for (name, ask), answer in zip(questions, right, strict=True):
            try:
                given = ask(store)
            except Fatal as error:
                is_stopped = True
                assert "put it aside" in str(error) or "put it aside" in str(error.__cause__), str(error)
                continue
            assert given == answer or is_hidden(name, answer, given), f"{what}: another answer to {name}"
            hidden += given != answer
        stopped += is_stopped
        store.close()
        shutil.rmtree(directory)
    print(f"\n{tried} damaged files: {stopped} stopped, {hidden} answers that lacked something")
    assert stopped > tried / 3 and hidden < tried / 10


def test_any_damaged_page_of_the_guard_stops_it_or_changes_nothing(place):
    random = Random(1)
    signer = ballots.new_signer(place / "whole")
    bodies = ballots.transactions(12)
    for view in range(1, 40):
        block = ballots.proposal(view, bodies[view % 10 : view % 10 + 2])
        certificates = (ballots.certificate(block.vote.ballot),)
        signer.sign_vote(block.vote.ballot, certificates, block, bodies[view % 10 : view % 10 + 2])
    right = signer.load()
    signer.close()
    stopped = tried = 0
    for what, content in damaged((place / "whole" / GUARD_FILE).read_bytes(), random):
        tried += 1
        directory = place / str(tried)
        directory.mkdir()
        (directory / GUARD_FILE).write_bytes(content)
        try:
            signer = ballots.open_signer(directory)
        except Fatal as error:
            stopped += 1
            assert (
                str(directory) in str(error) or "of the guard" in str(error) or "in the guard" in str(error)
            )
            assert "replace this authority's key" in str(error) or "another" in str(error), str(error)
            continue
        assert signer.load() == right, what
        signer.close()
        shutil.rmtree(directory)
    print(f"\n{tried} damaged files: {stopped} stopped")
    assert stopped > tried / 2
