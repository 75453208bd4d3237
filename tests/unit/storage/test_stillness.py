"""What is read together is of one height, whatever is committed meanwhile."""

from threading import Thread
from time import sleep

import pytest
from p2pledger.ledger.machine import IndexRow
from p2pledger.storage.memory import MemoryStore
from p2pledger.storage.sqlite import SqliteStore
from p2pledger.storage.stillness import TRIES_MAX, Stillness
from tests.unit.storage.chains import GENESIS, Chain, start


def test_reads_that_something_changed_under_are_begun_anew():
    stillness, calls = Stillness(), []

    def read() -> int:
        calls.append(1)
        if len(calls) < 3:
            with stillness.changing():
                pass
        return len(calls)

    assert stillness.together(read) == 3


def test_a_writer_that_never_rests_waits_in_the_end():
    stillness, calls = Stillness(), []

    def read() -> int:
        calls.append(1)
        if len(calls) <= TRIES_MAX:
            with stillness.changing():
                pass
        else:
            assert stillness._lock.locked()
        return len(calls)

    assert stillness.together(read) == TRIES_MAX + 1


def test_a_read_waits_for_the_end_of_a_change():
    stillness, found = Stillness(), []
    with stillness.changing():
        reader = Thread(target=lambda: found.append(stillness.together(lambda: "whole")))
        reader.start()
        assert not found
    reader.join()
    assert found == ["whole"]


@pytest.mark.parametrize("kind", ["sqlite", "memory"])
def test_state_index_and_tip_are_of_one_height(kind, tmp_path):
    store = SqliteStore(tmp_path, GENESIS, start()) if kind == "sqlite" else MemoryStore(GENESIS, start())
    chain, seen = Chain(), []
    steps = 60

    def write() -> None:
        for height in range(1, steps + 1):
            while height > 10 and (not seen or seen[-1][0] < height - 10):
                sleep(0.0001)  # a fast machine would be through before it was looked at
            written = height.to_bytes(8, "big")
            chain.commit(store, (), {b"newest": written}, (IndexRow("all", written, b""),))

    def read() -> tuple[int, int, int]:
        rows = store.scan("all", b"", b"", steps)
        sleep(0.001)  # long enough for a commit to come in between
        newest = int.from_bytes(store.get(b"newest") or b"", "big")
        return store.tip().height, len(rows), newest

    writer = Thread(target=write)
    writer.start()
    while not seen or seen[-1][0] < steps:
        seen.append(store.together(read))
    writer.join()
    store.close()
    assert [each for each in seen if len(set(each)) > 1] == []
    assert len(set(seen)) > 5
