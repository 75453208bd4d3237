"""Copies of a chain as of one commit, made while its node goes on. Floor 5.

Of `chain.db` alone: guard and keys lie elsewhere, and nothing here is told where. SQLite's online backup
copies the pages that one read transaction sees, so blocks that come meanwhile are neither waited for nor half
in it. The copy lies beside the chain, under no name once it is whole, and goes with whoever reads it; while
it is there the volume needs room for it.
"""

import os
import shutil
import sqlite3
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, BinaryIO, get_type_hints

from p2pledger import wal
from p2pledger.chain.block import genesis_digest
from p2pledger.chain.genesis import Genesis
from p2pledger.errors import Fatal
from p2pledger.storage import schema
from p2pledger.storage.database import free_bytes
from p2pledger.storage.rows import block_of
from p2pledger.storage.sqlite import CHAIN_FILE
from p2pledger.types import Hash, Height

COPY_DIRECTORY = "backup"
PAGES = 1_024
"""Copied at a time: 4 MiB, after which the node's threads may have the processor."""

CHUNK_BYTES = 256 * 1024
RESERVE_BYTES = 64 * 1024 * 1024
"""What is left to the node's own growth when a copy is made."""

MANIFEST_VERSION = 1


class NoRoom(Exception):
    """The volume has no room for a copy."""


@dataclass(frozen=True)
class Manifest:
    """What a copy holds: of which ledger, up to which block.

    `sha256` is of the copy's bytes; empty while they are not known.
    """

    version: int
    software: str
    store_format: int
    chain_id: str
    genesis_hash: str
    height: int
    digest: str
    size_bytes: int
    sha256: str = ""

    def as_json(self) -> dict[str, Any]:
        """The JSON object that it is kept as."""
        return asdict(self)

    @classmethod
    def of_json(cls, shown: Any) -> "Manifest":
        """The manifest in a JSON value. Raises: ValueError when it is none of this version."""
        kinds = get_type_hints(cls)
        is_one = isinstance(shown, dict) and shown.keys() == kinds.keys()
        if not is_one or any(type(shown[name]) is not kind for name, kind in kinds.items()):
            raise ValueError("it has other fields")
        if shown["version"] != MANIFEST_VERSION:
            raise ValueError(f"it is of version {shown['version']}, {MANIFEST_VERSION} is known here")
        return cls(**shown)


class Snapshot:
    """A copy that is being read. It is gone once this is closed."""

    def __init__(self, file: BinaryIO, manifest: Manifest) -> None:
        self._file = file
        self.manifest = manifest

    def read(self) -> bytes:
        """The next CHUNK_BYTES of it; nothing at the end."""
        return self._file.read(CHUNK_BYTES)

    def close(self) -> None:
        """Let go of the copy, and of its room."""
        self._file.close()


class Snapshots:
    """Makes copies of the chain in `directory`, one at a time. What an earlier process left half done goes.

    To be made by the process that holds the directory.
    """

    def __init__(self, directory: Path, genesis: Genesis, software: str) -> None:
        self._chain, self._place = directory / CHAIN_FILE, directory / COPY_DIRECTORY
        self._genesis, self._software = genesis, software
        shutil.rmtree(self._place, ignore_errors=True)

    def take(self, tell: Callable[[], None] = lambda: None) -> Snapshot:
        """Copy the chain as it is now. Waits for disks: not for the event loop.

        `tell` is called between pieces; what it raises breaks this off.
        Raises: NoRoom; Fatal when the chain cannot be read or the copy not be written.
        """
        self._check_room()
        try:
            return self._take(tell)
        except (sqlite3.Error, OSError) as error:
            raise Fatal(f"no copy of {self._chain} could be made: {error}") from error
        finally:
            shutil.rmtree(self._place, ignore_errors=True)

    def _check_room(self) -> None:
        needed = RESERVE_BYTES + sum(
            file.stat().st_size for file in (self._chain, wal.log_of(self._chain)) if file.exists()
        )
        if (free := free_bytes(self._chain.parent)) < needed:
            raise NoRoom(f"a copy takes {needed:,} bytes of the volume, and {free:,} are free")

    def _take(self, tell: Callable[[], None]) -> Snapshot:
        shutil.rmtree(self._place, ignore_errors=True)
        self._place.mkdir(mode=0o700)
        copy = self._place / CHAIN_FILE
        uri = f"{self._chain.absolute().as_uri()}?mode=ro"
        source = sqlite3.connect(uri, uri=True, isolation_level=None)
        try:
            source.execute("BEGIN")
            height, digest = self._tip(source)  # with this read the transaction begins
            target = sqlite3.connect(copy, isolation_level=None)
            try:
                target.execute("PRAGMA journal_mode = OFF")
                target.execute("PRAGMA synchronous = OFF")
                source.backup(target, pages=PAGES, progress=lambda *_: tell())
            finally:
                target.close()
        finally:
            source.close()
        file = copy.open("rb")
        manifest = Manifest(
            MANIFEST_VERSION,
            self._software,
            schema.FORMAT,
            self._genesis.chain_id,
            self._genesis.hash.hex(),
            height,
            digest.hex(),
            os.fstat(file.fileno()).st_size,
        )
        return Snapshot(file, manifest)

    def _tip(self, source: sqlite3.Connection) -> tuple[Height, Hash]:
        (height,) = source.execute(schema.BLOCK_NEWEST).fetchone()
        if height is None:
            return Height(0), genesis_digest(self._genesis)
        header = block_of(source.execute(schema.BLOCKS_FROM, (height, 1)).fetchone()).header
        return header.height, header.digest
