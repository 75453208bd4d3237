"""A process that commits block after block and says each height only once its commit has returned."""

import sys
from itertools import count
from pathlib import Path

from p2pledger.storage.sqlite import SqliteStore
from tests.unit.storage.chains import GENESIS, Chain, make_small, start


def main() -> None:
    make_small()
    store = SqliteStore(Path(sys.argv[1]), GENESIS, start())
    chain = Chain(salts=count(1_000 * store.tip().height))
    while True:
        height = store.tip().height + 1
        chain.commit(store, [chain.transaction() for _ in range(3)], writes={b"height": b"%d" % height})
        print(height, flush=True)


main()
