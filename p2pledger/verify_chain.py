"""A node's whole chain executed again, and held against what it says. Floor 8.

It starts from the genesis file alone, on a state in memory. What a header commits to has to come out the same
on any machine, under any supported Python: an auditor needs the directory of a chain and its genesis file.
"""

import json
import platform
import tomllib
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, replace
from hashlib import sha256
from pathlib import Path

from p2pledger.chain.authority import AuthoritySet
from p2pledger.chain.block import FinalBlock, Header, genesis_digest
from p2pledger.chain.epoch import epoch_of
from p2pledger.chain.genesis import Genesis
from p2pledger.chain.receipt import check_final
from p2pledger.chain.transaction import Transaction, is_authentic
from p2pledger.chain.vote import IsSigned, check_evidence
from p2pledger.codec import from_json
from p2pledger.crypto import is_signed as is_really_signed
from p2pledger.errors import InvalidMessage, InvalidTransaction
from p2pledger.ledger.machine import Execution, IndexRows, Machine, Round
from p2pledger.storage.archive import Archive
from p2pledger.storage.memory import MemoryStore
from p2pledger.types import ZERO_HASH

SAME, DIFFERENT, UNREADABLE = 0, 1, 2
"""The exit codes: all came out the same; a block differs; there is no chain here that can be executed."""

CONFIGURATION = "node.toml"
ROOTS = ("tx_root", "state_root", "receipts_root", "next_set_hash")


class Different(Exception):
    """A block is not what executing the chain up to it gives. `height` is the first such block's."""

    def __init__(self, height: int, what: str) -> None:
        super().__init__(f"block {height}: {what}")
        self.height = height


@dataclass(frozen=True)
class Roots:
    """What a block's header commits to, in hexadecimal, as executing the block gave it."""

    height: int
    tx_root: str
    state_root: str
    receipts_root: str
    next_set_hash: str
    """Zeros but for the last block of an epoch."""


@dataclass(frozen=True)
class Head:
    """A chain that came out the same: its last block, and how much there was of it."""

    chain_id: str
    genesis_hash: str
    height: int
    certified_height: int
    """The last block that a certificate covers; the newest one's may yet be on its way."""
    digest: str
    roots: Roots
    transactions: int
    epochs: int
    """How many have ended."""
    index_rows_hash: str
    """Over all index rows in their order: no header commits to them, two replays can be compared by it."""
    python: str


class Replay:
    """Executes blocks one after the other from genesis on. `is_checking`: signatures are verified too.

    Memory grows with the state, the ids of transactions and the hashes of results; bodies are let go.
    """

    def __init__(
        self, genesis: Genesis, is_signed: IsSigned = is_really_signed, *, is_checking: bool = True
    ) -> None:
        self._genesis, self._is_signed, self._is_checking = genesis, is_signed, is_checking
        self._machine = Machine(genesis, is_signed)
        start = self._machine.start()
        self._store = MemoryStore(genesis, start)
        self._sets: list[AuthoritySet] = [genesis.authorities, genesis.next_authorities]
        self._rows = sha256()
        self._take_rows(start)
        self._certified, self._transactions = 0, 0
        self._roots = Roots(
            0, start.tx_root.hex(), start.state_root.hex(), start.receipts_root.hex(), ZERO_HASH.hex()
        )

    def take(self, block: FinalBlock, transactions: tuple[Transaction, ...]) -> Roots:
        """Execute the next block. Raises: Different; Fatal when it follows rules that are not known here."""
        header = block.header
        self._check_place(header)
        at = Round(
            header.epoch, header.height, header.time_ms, tuple(item.offence for item in block.evidence)
        )
        try:
            self._check_signatures(block, transactions)
            done = self._machine.execute(self._store, self._store.tip().frontier, at, transactions)
        except InvalidTransaction as error:
            raise Different(header.height, f"a transaction is refused ({error.code}): {error}") from None
        except InvalidMessage as error:
            raise Different(header.height, str(error)) from None
        self._check_roots(header, done)
        self._take_rows(done)
        self._store.commit(block, transactions, replace(done, index_rows=IndexRows()))
        self._store.prune(header.height, "")
        if done.next_set is not None:
            self._sets.append(done.next_set)
        if block.certificate is not None:
            self._certified = header.height
        self._transactions += len(transactions)
        tx_root, state_root, receipts_root, next_set_hash = (_root(done, name).hex() for name in ROOTS)
        self._roots = Roots(header.height, tx_root, state_root, receipts_root, next_set_hash)
        return self._roots

    def _check_place(self, header: Header) -> None:
        tip, genesis, height = self._store.tip(), self._genesis, header.height
        parent = tip.header.digest if tip.header is not None else genesis_digest(genesis)
        time_ms = tip.header.time_ms if tip.header is not None else genesis.time_ms
        if (header.genesis_hash, header.height, header.parent_digest) != (
            genesis.hash,
            tip.height + 1,
            parent,
        ):
            raise Different(tip.height + 1, "it is not the child of the block before it")
        if header.epoch != epoch_of(height, genesis.parameters.epoch_blocks):
            raise Different(height, f"it is not one of epoch {header.epoch}")
        if header.time_ms <= time_ms:
            raise Different(height, "it is not later than the block before it")

    def _check_signatures(self, block: FinalBlock, transactions: tuple[Transaction, ...]) -> None:
        if not self._is_checking:
            return
        genesis_hash, is_signed = self._genesis.hash, self._is_signed
        header, certificate = block.header, block.certificate
        if certificate is not None:
            check_final(header, certificate, genesis_hash, self._sets[header.epoch], is_signed)
        elif header.next_set_hash != ZERO_HASH:
            raise InvalidMessage("the last block of an epoch comes without its certificate")
        for item in block.evidence:
            epoch = item.offence[0]
            if epoch > header.epoch:
                raise InvalidMessage(f"evidence of epoch {epoch}, which had not begun")
            check_evidence(item, genesis_hash, self._sets[epoch], is_signed)
        for transaction in transactions:
            if not is_authentic(transaction, is_signed):
                raise InvalidMessage(f"transaction {transaction.id.hex()} is not signed by its signers")

    def _check_roots(self, header: Header, done: Execution) -> None:
        for name in ROOTS:
            stored, found = getattr(header, name), _root(done, name)
            if stored != found:
                raise Different(
                    header.height, f"its {name} is {stored.hex()}, and executing it gives {found.hex()}"
                )

    def _take_rows(self, done: Execution) -> None:
        for row in done.index_rows:
            for part in (row.name.encode(), row.key, row.value):
                self._rows.update(len(part).to_bytes(4, "big") + part)

    def head(self) -> Head:
        """Where it stands."""
        tip, genesis = self._store.tip(), self._genesis
        digest = tip.header.digest if tip.header is not None else genesis_digest(genesis)
        return Head(
            chain_id=genesis.chain_id,
            genesis_hash=genesis.hash.hex(),
            height=tip.height,
            certified_height=self._certified,
            digest=digest.hex(),
            roots=self._roots,
            transactions=self._transactions,
            epochs=len(self._sets) - 2,
            index_rows_hash=self._rows.hexdigest(),
            python=platform.python_version(),
        )


def _root(done: Execution, name: str) -> bytes:
    if name != "next_set_hash":
        return bytes(getattr(done, name))
    return bytes(ZERO_HASH if done.next_set is None else done.next_set.hash)


def places(directory: Path, genesis: Path | None) -> tuple[Path, Genesis]:
    """Where the chain is, and the ledger that it has to be of: a node's home says both in its `node.toml`.

    Raises: InvalidMessage, ValueError, KeyError (what a file says), OSError.
    """
    home = directory / CONFIGURATION
    data = directory
    if home.exists():
        node = tomllib.loads(home.read_text(encoding="utf-8"))["node"]
        data, genesis = directory / node["data_dir"], genesis or directory / node["genesis"]
    if genesis is None:
        raise ValueError(f"{directory} is no node's home (it has no {CONFIGURATION}): give --genesis")
    ledger: Genesis = from_json(Genesis, json.loads(genesis.read_text(encoding="utf-8")))
    return data, ledger


def replayed(
    archive: Archive, replay: Replay, tell: Callable[[int], None] = lambda _: None
) -> Iterator[Roots]:
    """Execute the archive's blocks, one for each item; `tell` is told of each. Raises: as `Replay.take`."""
    for block, transactions in archive.blocks():
        yield replay.take(block, transactions)
        tell(1)


def as_json(of: Head | Roots) -> str:
    """One line for scripts."""
    return json.dumps(asdict(of), separators=(",", ":"))


def as_lines(head: Head) -> list[str]:
    """The same for people."""
    roots = head.roots
    said = [
        f"ledger           {head.chain_id} {head.genesis_hash}",
        f"height           {head.height:,}, {head.transactions:,} transactions, {head.epochs:,} epochs ended",
        f"digest           {head.digest}",
        f"tx_root          {roots.tx_root}",
        f"state_root       {roots.state_root}",
        f"receipts_root    {roots.receipts_root}",
        f"index rows       {head.index_rows_hash}",
    ]
    if head.certified_height < head.height:
        said.append(
            f"certified up to  {head.certified_height:,}: what makes the later blocks final is not here"
        )
    return [*said, f"Every block came out the same, on Python {head.python}."]
