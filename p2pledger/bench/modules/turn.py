"""One turn through all kinds of transactions, and how its transactions are made. Floor 9."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from p2pledger.bench.devices import Device
from p2pledger.bench.solo import SPONSOR, Solo, Unsigned, admin, named_key, unsigned
from p2pledger.chain.transaction import Transaction
from p2pledger.client.signing import transaction
from p2pledger.crypto import KeySigner, Signer


def made(ledger: Solo, payload: Any, sponsor: str, *signers: Signer) -> Transaction:
    """A transaction for the ledger's next block."""
    return transaction(ledger.genesis, payload.KIND, payload, sponsor, signers, ledger.expires_ms)


@dataclass(frozen=True)
class Turn:
    """`count` transactions of each kind, about what no other turn is about. `writers` are as many devices."""

    ledger: Solo
    writers: Sequence[Device]
    number: int
    count: int

    def of(self, payload: Any, sponsor: str, *signers: Signer) -> Transaction:
        """A transaction for the next block."""
        return made(self.ledger, payload, sponsor, *signers)

    def by_admin(self, payload: Any, *others: Signer) -> Transaction:
        """A transaction of the sponsor's admin, and of whoever has to sign beside."""
        return self.of(payload, SPONSOR, admin(SPONSOR), *others)

    def keys(self, name: str) -> list[Unsigned]:
        """As many keys as there are transactions, the same ones for the same name."""
        return [unsigned(f"{name} {self.number} {i}") for i in range(self.count)]

    def key(self, name: str, number: int) -> KeySigner:
        """One of these keys that signs in earnest."""
        return named_key(f"{name} {self.number} {number}")

    def id(self, name: str, number: int) -> str:
        """A name that nothing else has."""
        return f"{name}-{self.number}-{number}"
