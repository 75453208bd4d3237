"""The guard on disk, with all that an authority must not forget. Floor 5.

One SQLite file in a directory of its own: WAL, synchronous=FULL, every row with a checksum. It belongs
on its own volume and into no backup or snapshot: an old copy of it signs what the newer one forbids.
One transaction holds the guard, the vote and all that the vote rests on, so a crash before its commit
leaves a vote that nobody has seen, and a crash after it a vote that is sent again.
"""

import os
import sqlite3
import threading
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from enum import IntEnum
from pathlib import Path
from typing import Any

from p2pledger import wal
from p2pledger.chain.block import Proposal
from p2pledger.chain.transaction import Batch, Transaction, decode_transaction
from p2pledger.chain.vote import Ballot, Certificate, Vote, VoteKind
from p2pledger.codec import decode, encode
from p2pledger.crypto import Domain
from p2pledger.errors import Fatal, InvalidMessage
from p2pledger.signer.guard import Guard
from p2pledger.signer.guarddisk import REPLACE_KEY, connect, cure, lock
from p2pledger.types import Epoch, Hash, PublicKey, View

GUARD_FILE = "guard.db"
FORMAT = b"1"

_ROW_DOMAIN = Domain("p2pledger/guard-row/1")
_CHECKSUM_BYTES = 8


class GuardMissing(Exception):
    """There is no guard. A lost one looks the same as none: the node follows, and signs nothing."""


class Keeping(IntEnum):
    """What a row keeps."""

    GUARD = 0
    VOTE = 1
    PROPOSAL = 2
    CERTIFICATE = 3
    FINAL = 4
    BOUNDARY = 5
    BODIES = 6


_PRUNED = (Keeping.PROPOSAL, Keeping.CERTIFICATE, Keeping.BODIES)

_TABLES = (
    "CREATE TABLE meta (name TEXT PRIMARY KEY, value BLOB NOT NULL) WITHOUT ROWID",
    """CREATE TABLE kept (
        keeping INTEGER NOT NULL,
        epoch INTEGER NOT NULL,
        view INTEGER NOT NULL,
        name BLOB NOT NULL,
        content BLOB NOT NULL,
        checksum BLOB NOT NULL,
        PRIMARY KEY (keeping, epoch, view, name)
    )""",
)
_PUT = "INSERT OR REPLACE INTO kept VALUES (?, ?, ?, ?, ?, ?)"
_GET = "SELECT content, checksum FROM kept WHERE keeping = ? AND epoch = ? AND view = ? AND name = ?"
_ALL = "SELECT keeping, epoch, view, name, content, checksum FROM kept ORDER BY keeping, epoch, view, name"
_DROP_UP_TO = "DELETE FROM kept WHERE keeping = ? AND (epoch, view) <= (?, ?)"
_DROP_BELOW = "DELETE FROM kept WHERE keeping = ? AND (epoch, view) < (?, ?)"


@dataclass(frozen=True)
class Durable:
    """All that the guard file keeps, as a start finds it.

    `votes` are the key's own, `proposals` those it voted for (its own with the signature of its vote
    still zero), `certificates` N and X ones, `final` the newest F, `boundaries` the F certificate of
    each epoch's last block, `bodies` the transactions of the proposals. Rows at or below the final view
    may still be among them.
    """

    guard: Guard
    votes: tuple[Vote, ...]
    proposals: tuple[Proposal, ...]
    certificates: tuple[Certificate, ...]
    final: Certificate | None
    boundaries: Mapping[Epoch, Certificate]
    bodies: tuple[Transaction, ...]


class GuardFile:
    """The guard of one key on one ledger, held by one process at a time.

    Every write is durable when the method returns.
    Raises: GuardMissing when there is none; Fatal when it is another key's or ledger's, another process
    holds it, a row is not what was written, or the disk fails. After a failed write nothing more is
    written: a sync that failed once may seem to succeed when it is tried again.
    """

    def __init__(self, directory: Path, public_key: PublicKey, genesis_hash: Hash) -> None:
        self._file = directory / GUARD_FILE
        self._thread_lock = threading.Lock()
        self._failed: Fatal | None = None
        self._pruned: tuple[Epoch, View] | None = None
        if not self._file.exists():
            raise GuardMissing(f"no guard in {directory}")
        self._process_lock = lock(directory)
        try:
            with self._failing():
                self._connection = connect(self._file)
            try:
                with self._failing():
                    wal.rewrite_log(self._connection, self._file)
                self._check_meta(public_key, genesis_hash)
                self.guard = self.load().guard
            except BaseException:
                self._connection.close()
                raise
        except BaseException:
            os.close(self._process_lock)
            raise

    @classmethod
    def create(cls, directory: Path, public_key: PublicKey, genesis_hash: Hash) -> None:
        """Make the guard of a key that has never signed anything on this ledger.

        Only `p2pledger init`, or joining a future epoch with a fresh key, may do this: for a key that
        has signed, an empty guard is a licence to contradict it.
        Raises: Fatal when there is one already.
        """
        file = directory / GUARD_FILE
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        held = lock(directory)
        try:
            connection = sqlite3.connect(file, isolation_level=None)
            try:
                if connection.execute("SELECT 1 FROM sqlite_master").fetchone() is not None:
                    raise Fatal(f"{file} exists already: a guard is never made anew")
                wal.settle(connection, file)
                connection.execute("BEGIN IMMEDIATE")
                for table in _TABLES:
                    connection.execute(table)
                meta = {"format": FORMAT, "genesis": genesis_hash, "key": public_key}
                connection.executemany("INSERT INTO meta VALUES (?, ?)", meta.items())
                connection.execute(_PUT, _row(Keeping.GUARD, 0, 0, b"", encode(Guard())))
                connection.execute("COMMIT")
            finally:
                connection.close()
        except sqlite3.Error as error:
            raise Fatal(f"{file}: {cure(error)}") from error
        finally:
            os.close(held)

    def vote(self, ballot: Ballot) -> Vote | None:
        """The vote that was signed for this very ballot, while it is kept."""
        with self._thread_lock, self._failing():
            key = (Keeping.VOTE, ballot.epoch, ballot.view, _name(ballot))
            row = self._connection.execute(_GET, key).fetchone()
        if row is None:
            return None
        vote: Vote = _decoded(Vote, _checked(*key, *row))
        return vote if vote.ballot == ballot else None

    def record(
        self,
        guard: Guard,
        vote: Vote | None,
        certificates: Sequence[Certificate],
        proposal: Proposal | None,
        bodies: Sequence[Transaction],
    ) -> None:
        """Make all of it durable as ONE transaction; only then may the vote be seen by anyone."""
        rows = [_certificate_row(certificate) for certificate in certificates]
        if vote is not None:
            ballot = vote.ballot
            rows.append(_row(Keeping.GUARD, 0, 0, b"", encode(guard)))
            rows.append(_row(Keeping.VOTE, ballot.epoch, ballot.view, _name(ballot), encode(vote)))
        with self._writing() as connection:
            connection.executemany(_PUT, rows)
            if vote is not None and proposal is not None and vote.ballot.kind is not VoteKind.SKIP:
                self._keep_proposal(connection, vote.ballot, proposal, bodies)
            self._drop(connection, guard)
        self.guard = guard

    def _keep_proposal(
        self,
        connection: sqlite3.Connection,
        ballot: Ballot,
        proposal: Proposal,
        bodies: Sequence[Transaction],
    ) -> None:
        # What N brought, F brings again: the first one stays, an own proposal above all.
        at = (ballot.epoch, ballot.view, ballot.digest)
        if connection.execute(_GET, (Keeping.PROPOSAL, *at)).fetchone() is None:
            connection.execute(_PUT, _row(Keeping.PROPOSAL, *at, encode(proposal)))
        if bodies and connection.execute(_GET, (Keeping.BODIES, *at)).fetchone() is None:
            batch = Batch(tuple(transaction.encoded for transaction in bodies))
            connection.execute(_PUT, _row(Keeping.BODIES, *at, encode(batch)))

    def _drop(self, connection: sqlite3.Connection, guard: Guard) -> None:
        if self._pruned is None:
            return
        for keeping in _PRUNED:
            connection.execute(_DROP_UP_TO, (keeping, *self._pruned))
        # The guard's own view stays whole: its votes are what a peer's echo is compared with.
        votes_below = min(guard.at, (self._pruned[0], View(self._pruned[1] + 1)))
        connection.execute(_DROP_BELOW, (Keeping.VOTE, *votes_below))
        newest = "SELECT epoch, view FROM kept WHERE keeping = ? ORDER BY epoch DESC, view DESC LIMIT 1"
        final = connection.execute(newest, (Keeping.FINAL,)).fetchone()
        if final is not None:
            connection.execute(_DROP_BELOW, (Keeping.FINAL, *final))
        self._pruned = None

    def keep_boundary(self, certificate: Certificate) -> None:
        """Keep the F certificate of an epoch's last block for ever."""
        ballot = certificate.ballot
        with self._writing() as connection:
            connection.execute(_PUT, _row(Keeping.BOUNDARY, ballot.epoch, 0, b"", encode(certificate)))

    def prune(self, epoch: Epoch, view: View) -> None:
        """What is at or below this view is no longer needed: the chain store holds it durably.

        Costs no write of its own; the rows go with the next vote.
        """
        with self._thread_lock:
            self._pruned = max(self._pruned or (epoch, view), (epoch, view))

    def load(self) -> Durable:
        """Everything, each row checked.

        Raises: Fatal also when a vote is not within the guard: then one of them is an older copy.
        """
        with self._thread_lock, self._failing():
            found = self._connection.execute(_ALL).fetchall()
        rows: dict[Keeping, list[bytes]] = {keeping: [] for keeping in Keeping}
        for row in found:
            content = _checked(*row)
            rows[Keeping(row[0])].append(content)
        if len(rows[Keeping.GUARD]) != 1:
            raise Fatal(f"{self._file}: the guard itself is gone: {REPLACE_KEY}")
        guard: Guard = _decoded(Guard, rows[Keeping.GUARD][0])
        votes: tuple[Vote, ...] = _all_decoded(Vote, rows[Keeping.VOTE])
        for vote in votes:
            at = (vote.ballot.epoch, vote.ballot.view)
            if at > guard.at or (at == guard.at and vote.ballot not in guard.ballots()):
                raise Fatal(f"{self._file}: it holds a vote that its guard does not know: {REPLACE_KEY}")
        finals = _all_decoded(Certificate, rows[Keeping.FINAL])
        boundaries = _all_decoded(Certificate, rows[Keeping.BOUNDARY])
        return Durable(
            guard=guard,
            votes=votes,
            proposals=_all_decoded(Proposal, rows[Keeping.PROPOSAL]),
            certificates=_all_decoded(Certificate, rows[Keeping.CERTIFICATE]),
            final=max(finals, key=lambda c: (c.ballot.epoch, c.ballot.view), default=None),
            boundaries={certificate.ballot.epoch: certificate for certificate in boundaries},
            bodies=_bodies(_all_decoded(Batch, rows[Keeping.BODIES])),
        )

    def close(self) -> None:
        """Release the file and the directory."""
        with self._thread_lock, self._failing():
            self._connection.close()
            os.close(self._process_lock)

    def _check_meta(self, public_key: PublicKey, genesis_hash: Hash) -> None:
        with self._failing():
            if self._connection.execute("SELECT 1 FROM sqlite_master").fetchone() is None:
                raise GuardMissing(f"{self._file} is empty: its making was cut short")
            meta = dict(self._connection.execute("SELECT name, value FROM meta").fetchall())
        if meta.get("format") != FORMAT:
            raise Fatal(f"{self._file} was written by another version of this software; run that one")
        if meta.get("key") != public_key:
            raise Fatal(f"{self._file} is the guard of another key: give each key its own guard directory")
        if meta.get("genesis") != genesis_hash:
            raise Fatal(
                f"{self._file} is the guard for another ledger ({meta.get('genesis', b'').hex()}): put the"
                " right genesis file back, or take a new guard directory and a new key for the new ledger"
            )
        with self._failing():
            wal.settle(self._connection, self._file)

    @contextmanager
    def _failing(self) -> Iterator[None]:
        try:
            yield
        except sqlite3.Error as error:
            raise Fatal(f"{self._file}: {cure(error)}") from error
        except OSError as error:
            raise Fatal(f"{self._file}: {error.strerror}") from error

    @contextmanager
    def _writing(self) -> Iterator[sqlite3.Connection]:
        with self._thread_lock:
            if self._failed is not None:
                raise Fatal(f"an earlier write failed: {self._failed}")
            try:
                with self._failing():
                    self._connection.execute("BEGIN IMMEDIATE")
                    try:
                        yield self._connection
                        self._connection.execute("COMMIT")
                    except BaseException:
                        with suppress(sqlite3.Error):
                            self._connection.execute("ROLLBACK")
                        raise
            except Fatal as error:
                self._failed = error
                raise


def _name(ballot: Ballot) -> bytes:
    return bytes([ballot.kind.value])


def _checksum(keeping: int, epoch: int, view: int, name: bytes, content: bytes) -> bytes:
    place = b"%d|%d|%d|%d|" % (keeping, epoch, view, len(name))
    return _ROW_DOMAIN.hash(place + name + content)[:_CHECKSUM_BYTES]


def _row(keeping: Keeping, epoch: int, view: int, name: bytes, content: bytes) -> tuple[Any, ...]:
    return keeping, epoch, view, name, content, _checksum(keeping, epoch, view, name, content)


def _certificate_row(certificate: Certificate) -> tuple[Any, ...]:
    ballot = certificate.ballot
    keeping = Keeping.FINAL if ballot.kind is VoteKind.FINALISE else Keeping.CERTIFICATE
    return _row(keeping, ballot.epoch, ballot.view, _name(ballot), encode(certificate))


def _checked(keeping: int, epoch: int, view: int, name: bytes, content: bytes, checksum: bytes) -> bytes:
    try:
        is_whole = _checksum(keeping, epoch, view, name, content) == checksum
    except TypeError:  # a damaged row may even change the types of its columns
        is_whole = False
    if not is_whole:
        raise Fatal(f"a row of the guard (epoch {epoch}, view {view}) is not what was written: {REPLACE_KEY}")
    return content


def _decoded(kind: Any, content: bytes) -> Any:
    try:
        return decode(kind, content)
    except InvalidMessage as error:
        raise Fatal(f"a {kind.__name__} in the guard cannot be read ({error}): {REPLACE_KEY}") from error


def _all_decoded(kind: Any, contents: Iterable[bytes]) -> tuple[Any, ...]:
    return tuple(_decoded(kind, content) for content in contents)


def _bodies(batches: Iterable[Batch]) -> tuple[Transaction, ...]:
    try:
        found = [decode_transaction(data) for batch in batches for data in batch.transactions]
    except InvalidMessage as error:
        raise Fatal(f"a body in the guard cannot be read ({error}): {REPLACE_KEY}") from error
    return tuple({transaction.id: transaction for transaction in found}.values())
