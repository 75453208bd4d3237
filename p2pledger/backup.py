"""Backups of a chain: fetched from a running node, kept, checked, and put back. Floor 8.

backups/
  lock                         held while one is fetched
  CHAIN-000000012345/          one backup, complete once it has this name
    chain.db                   the chain as of one block
    genesis.json               the genesis file of its ledger
    manifest.json              what it holds, with the SHA-256 of chain.db

A backup has no key and no guard. What is put back is not believed: its bytes are held against the manifest,
its genesis against the one that the node is to run on, and its newest certified block against the genesis.
"""

import errno
import json
import os
import re
import shutil
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from hashlib import sha256
from pathlib import Path
from typing import IO, Any

import httpx

from p2pledger.api.admin import BACKUP_PATH
from p2pledger.chain.block import genesis_digest
from p2pledger.chain.genesis import Genesis
from p2pledger.chain.receipt import HEADERS_MAX, check_final, proven_sets
from p2pledger.codec import from_json, to_json
from p2pledger.crypto import is_signed
from p2pledger.directories import LOCK_FILE, hold, sync
from p2pledger.errors import Fatal, InvalidMessage
from p2pledger.ledger.machine import Machine
from p2pledger.storage.database import free_bytes
from p2pledger.storage.snapshot import CHUNK_BYTES, Manifest
from p2pledger.storage.sqlite import CHAIN_FILE, SqliteStore
from p2pledger.types import Epoch, Hash, Height

MANIFEST, GENESIS = "manifest.json", "genesis.json"
STAGING = "restoring"
PARTIAL = ".partial-"
BESIDE_BYTES = 1024 * 1024
"""What a backup takes beside the chain: genesis file, manifest, and what the file system keeps for itself."""

LINE_BYTES_MAX = 16 * 1024 * 1024
CONNECT_S = 10.0
SILENCE_S = 3_600.0
"""How long a node may say nothing: it copies its chain first."""

_NAME = re.compile(r".+-[0-9]{12}")
_IGNORED = {LOCK_FILE, STAGING, "lost+found"}
"""What an empty data directory may hold: a volume of its own comes with the last one."""


class BackupRefused(Exception):
    """A backup could not be made, or must not be put back. `code` is stable; the message has the cure."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(f"{code}: {message}")
        self.code = code


# --- fetching


def fetch(
    admin: str,
    to: Path,
    tell: Callable[[int, int], None] = lambda done, of: None,
    keep: int | None = None,
) -> Path:
    """Fetch a backup from a node's admin port into the directory `to`; where it is.

    It has its name once it is whole and durable; what an attempt before left half done is removed. `tell` is
    told how many bytes are there, of how many. Where there is no room for it, the oldest of its ledger go
    first, as far as there will be `keep` with it; the last one stays, and all do if that would not be enough.
    Raises: BackupRefused; Held when another process fetches into this directory; OSError.
    """
    to.mkdir(parents=True, exist_ok=True)
    held = hold(to)
    try:
        for left in to.glob(f"{PARTIAL}*"):
            shutil.rmtree(left)
        partial = Path(tempfile.mkdtemp(prefix=PARTIAL, dir=to))
        try:
            with _asked(admin) as stream:
                coming, genesis = _announced(stream)
                place = to / f"{coming.chain_id}-{coming.height:012}"
                if place.exists():
                    _check_same(read_manifest(place), coming)
                    return place
                _make_room(to, coming, keep)
                _take(stream, coming, genesis, partial, tell)
            partial.rename(place)
            sync(to)
        except OSError as error:
            if error.errno not in (errno.ENOSPC, errno.EDQUOT):
                raise
            raise _no_room(f"{to} is full") from None
        finally:
            shutil.rmtree(partial, ignore_errors=True)
    finally:
        os.close(held)
    return place


def _check_same(there: Manifest, fetched: Manifest) -> None:
    if (there.genesis_hash, there.digest) != (fetched.genesis_hash, fetched.digest):
        raise BackupRefused(
            "other_genesis", "there is a backup of another ledger by this name: choose another directory"
        )


@contextmanager
def _asked(admin: str) -> Iterator["_Stream"]:
    url = f"{admin.rstrip('/')}{BACKUP_PATH}"
    timeout = httpx.Timeout(SILENCE_S, connect=CONNECT_S)
    try:
        with (
            httpx.Client(trust_env=False, timeout=timeout) as http,
            http.stream("GET", url, headers={"Accept-Encoding": "identity"}) as answer,
        ):
            if answer.status_code != 200:
                said = answer.read()[:1_000].decode(errors="replace")
                raise BackupRefused("not_served", f"{url} answered {answer.status_code}: {said}")
            yield _Stream(answer.iter_raw(CHUNK_BYTES))
    except (httpx.TransportError, httpx.InvalidURL) as error:
        raise BackupRefused(
            "unreachable", f"{url}: {error!r}; see that the node runs, and that its admin.port is this one"
        ) from None


def _announced(stream: "_Stream") -> tuple[Manifest, Genesis]:
    """What the first line says that follows."""
    try:
        shown = json.loads(stream.line())
        genesis: Genesis = from_json(Genesis, shown.pop("genesis"))
        manifest = Manifest.of_json(shown)
    except (ValueError, KeyError, AttributeError, TypeError, InvalidMessage) as error:
        raise BackupRefused("broken_off", f"what came is no backup: {error}") from None
    if manifest.genesis_hash != genesis.hash.hex() or manifest.chain_id != genesis.chain_id:
        raise BackupRefused("broken_off", "what came is no backup: its genesis file is another one's")
    return manifest, genesis


def _make_room(to: Path, coming: Manifest, keep: int | None) -> None:
    """Remove what has to go before a backup fits in. Raises: BackupRefused, with all of them still there."""
    free, needed = free_bytes(to), coming.size_bytes + BESIDE_BYTES
    if free >= needed:
        return
    gone: list[Path] = []
    freed = 0
    for path in _beyond(to, coming.genesis_hash, max(1, keep - 1)) if keep is not None else []:
        if free + freed < needed:
            freed += sum(file.stat().st_size for file in path.iterdir())
            gone.append(path)
    if free + freed < needed:
        raise _no_room(f"a backup takes {needed:,} bytes of {to}, and {free:,} are free")
    _remove(gone)


def _no_room(why: str) -> BackupRefused:
    return BackupRefused(
        "no_room",
        f"{why}: enlarge the volume, keep fewer (--keep), or take away what is not needed; the last backup"
        " stays until a newer one is whole",
    )


def _take(
    stream: "_Stream", manifest: Manifest, genesis: Genesis, partial: Path, tell: Callable[[int, int], None]
) -> None:
    """Write what comes into a directory, durable when this returns."""
    _, digest = _keep(stream.pieces(manifest.size_bytes), partial / CHAIN_FILE, manifest.size_bytes, tell)
    try:
        is_whole = json.loads(stream.line()) == {"sha256": digest}
    except ValueError:
        is_whole = False
    if not is_whole:
        raise BackupRefused("broken_off", "the copy broke off or was changed on its way: fetch it again")
    whole = Manifest(**{**manifest.as_json(), "sha256": digest})
    _write(partial / GENESIS, to_json(genesis))
    _write(partial / MANIFEST, whole.as_json())
    sync(partial)


class _Stream:
    """Bytes as they come, taken as lines and as so many bytes."""

    def __init__(self, chunks: Iterator[bytes]) -> None:
        self._chunks, self._rest = chunks, b""

    def line(self) -> bytes:
        """The next line. Raises: ValueError when it is too long."""
        line = bytearray()
        while (end := self._rest.find(b"\n")) < 0 and len(line) <= LINE_BYTES_MAX:
            line += self._rest
            self._rest = next(self._chunks, b"")
            if not self._rest:
                return bytes(line)
        if end < 0:
            raise ValueError("a line without end")
        line += self._rest[:end]
        self._rest = self._rest[end + 1 :]
        return bytes(line)

    def pieces(self, size_bytes: int) -> Iterator[bytes]:
        """The next so many bytes, or what there is of them."""
        while size_bytes > 0:
            piece = self._rest[:size_bytes] or next(self._chunks, b"")
            if not piece:
                return
            if not self._rest:
                self._rest, piece = piece, piece[:size_bytes]
            self._rest = self._rest[len(piece) :]
            size_bytes -= len(piece)
            yield piece


def backups(directory: Path) -> list[Path]:
    """The complete backups in a directory, of the lowest block first."""
    found = [
        path for path in directory.iterdir() if _NAME.fullmatch(path.name) and (path / MANIFEST).is_file()
    ]
    return sorted(found, key=lambda path: read_manifest(path).height)


def prune(directory: Path, keep: int, newest: Path) -> list[Path]:
    """Remove all but the `keep` newest backups of the ledger that `newest` is of; which were removed."""
    gone = [path for path in _beyond(directory, read_manifest(newest).genesis_hash, keep) if path != newest]
    _remove(gone)
    return gone


def _beyond(directory: Path, genesis_hash: str, keep: int) -> list[Path]:
    """The backups of a ledger beside its `keep` newest ones, the oldest first."""
    same = [path for path in backups(directory) if read_manifest(path).genesis_hash == genesis_hash]
    return same[: max(0, len(same) - keep)]


def _remove(gone: Sequence[Path]) -> None:
    for path in gone:
        (path / MANIFEST).unlink()  # so that none is taken for a backup that is half gone
        shutil.rmtree(path)


def read_manifest(backup: Path) -> Manifest:
    """What a backup says that it holds. Raises: BackupRefused."""
    try:
        return Manifest.of_json(json.loads((backup / MANIFEST).read_bytes()))
    except OSError as error:
        raise BackupRefused("no_backup", f"{backup} is no backup: {MANIFEST}: {error.strerror}") from None
    except ValueError as error:
        raise BackupRefused("damaged_backup", f"{backup / MANIFEST}: {error}; take another backup") from None


# --- putting back


def restore(
    backup: Path, data: Path, genesis: Genesis, tell: Callable[[int, int], None] = lambda done, of: None
) -> Manifest:
    """Put a backup, or the newest one of a directory of backups, into an empty data directory.

    The chain gets its name there once all of it was checked and is durable; a crash before leaves nothing
    that a node would take for a chain, and the same call again begins anew.
    Raises: BackupRefused; Held when a node works there; OSError.
    """
    if not (backup / MANIFEST).is_file() and backup.is_dir() and (found := backups(backup)):
        backup = found[-1]
    manifest = read_manifest(backup)
    if manifest.genesis_hash != genesis.hash.hex():
        raise BackupRefused(
            "other_genesis",
            f"{backup} is of the ledger {manifest.genesis_hash}, the genesis file of {genesis.hash.hex()}:"
            " take the backup, or the genesis file, that belongs here",
        )
    data.mkdir(mode=0o700, parents=True, exist_ok=True)
    held = hold(data)
    try:
        if there := {path.name for path in data.iterdir()} - _IGNORED:
            raise BackupRefused(
                "not_empty",
                f"{data} holds {', '.join(sorted(there)[:5])}: move it away first, it is not overwritten",
            )
        staging = data / STAGING
        shutil.rmtree(staging, ignore_errors=True)
        staging.mkdir(mode=0o700)
        try:
            _copy(backup / CHAIN_FILE, staging / CHAIN_FILE, manifest, tell)
            check(staging, genesis, manifest)
            (staging / CHAIN_FILE).rename(data / CHAIN_FILE)
            sync(data)
        finally:
            shutil.rmtree(staging, ignore_errors=True)
    finally:
        os.close(held)
    return manifest


def _copy(source: Path, target: Path, manifest: Manifest, tell: Callable[[int, int], None]) -> None:
    try:
        there = source.open("rb")
    except OSError as error:
        raise BackupRefused("damaged_backup", f"{source}: {error.strerror}; take another backup") from None
    with there:
        pieces = iter(lambda: there.read(CHUNK_BYTES), b"")
        copied = _keep(pieces, target, manifest.size_bytes, tell)
    if copied != (manifest.size_bytes, manifest.sha256):
        raise BackupRefused("damaged_backup", f"{source} is not what {MANIFEST} says: take another backup")


def check(directory: Path, genesis: Genesis, manifest: Manifest) -> None:
    """Refuse a chain whose head is not the manifest's, or is not proved from the genesis file.

    The state and the results are held against the head's roots, the authority lists against each other from
    genesis on, and the newest certified block against them: that costs one certificate an epoch. What each
    block did is not executed again: `p2pledger verify-chain` does that.
    Raises: BackupRefused.
    """
    try:
        store = SqliteStore(directory, genesis, Machine(genesis).start())
        try:
            _check_head(store, genesis, manifest)
        finally:
            store.close()
    except (Fatal, InvalidMessage) as error:
        raise BackupRefused(
            "damaged_backup", f"the chain does not hold: {error}; take another backup"
        ) from None


def _check_head(store: SqliteStore, genesis: Genesis, manifest: Manifest) -> None:
    tip = store.tip()
    digest = tip.header.digest if tip.header is not None else genesis_digest(genesis)
    if (tip.height, digest.hex()) != (manifest.height, manifest.digest):
        raise InvalidMessage("its head is not the one that the manifest names")
    if tip.header is None:
        return
    boundaries = [store.boundary(Epoch(epoch)) for epoch in range(tip.header.epoch)]
    sets = proven_sets([boundary for boundary in boundaries if boundary is not None], genesis, is_signed)
    due = digest
    for height in range(tip.height, max(0, tip.height - HEADERS_MAX), -1):
        block = store.block(Height(height))
        if block is None or block.header.digest != due:
            raise InvalidMessage(f"block {height} is not the parent of the next one")
        if block.certificate is not None:
            check_final(block.header, block.certificate, genesis.hash, sets[block.header.epoch], is_signed)
            return
        due = Hash(block.header.parent_digest)
    raise InvalidMessage("none of its newest blocks has a certificate")


# --- files


def _keep(
    pieces: Iterator[bytes], target: Path, of: int, tell: Callable[[int, int], None]
) -> tuple[int, str]:
    """Write a new file, durable when this returns; how many bytes came, and their SHA-256."""
    digest, done = sha256(), 0
    with target.open("xb") as file:
        for piece in pieces:
            file.write(piece)
            digest.update(piece)
            tell(done := done + len(piece), of)
        _flush(file)
    return done, digest.hexdigest()


def _write(path: Path, shown: Any) -> None:
    with path.open("w", encoding="utf-8") as file:
        file.write(json.dumps(shown, indent=2) + "\n")
        _flush(file)


def _flush(file: IO[Any]) -> None:
    file.flush()
    os.fsync(file.fileno())
