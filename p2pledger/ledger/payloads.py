"""What transactions ask for: payloads, each decoded once, and what is signed inside them. Floor 4, pure."""

from collections import OrderedDict
from collections.abc import Collection, Iterable, Sequence
from itertools import repeat
from typing import Any

from p2pledger.chain.transaction import Transaction, note_opened
from p2pledger.codec import decode, decode_all
from p2pledger.crypto import Signed
from p2pledger.errors import Code, InvalidMessage, InvalidTransaction
from p2pledger.ledger.modules import RULES
from p2pledger.ledger.rules import Rule
from p2pledger.types import Hash

PROVEN_MAX = 16_384
"""How many transactions are remembered whose payloads' signatures were verified."""

_SIGNED_INSIDE = frozenset(kind for kind, rule in RULES.items() if rule.is_signed_inside)


class Payloads:
    """The payloads of one ledger's transactions. All that is remembered follows from their bytes.

    A payload is decoded once although it is looked at when it arrives, is proposed and is executed: it stays
    with its transaction, for as long as that does. So is a signature inside it verified once, when it was
    `note_proven`. An id stands for all that such a signature is about: ledger, sponsor, payload, the
    signature itself.
    """

    def __init__(self, genesis_hash: Hash) -> None:
        self._genesis_hash = genesis_hash
        self._proven: OrderedDict[Hash, None] = OrderedDict()

    def open(self, transaction: Transaction) -> tuple[Rule, Any]:
        """The rule and the payload of a transaction of this ledger. Raises: InvalidTransaction."""
        if transaction.body.genesis_hash != self._genesis_hash:
            raise InvalidTransaction(Code.WRONG_GENESIS, "the transaction is for another ledger")
        return transaction.opened or _read(transaction)

    def open_all(self, transactions: Sequence[Transaction]) -> None:
        """As `open` of each, with the payloads of each kind decoded together.

        Raises: InvalidTransaction for the first that is refused.
        """
        genesis_hash, unread, is_foreign = self._genesis_hash, dict[str, list[Transaction]](), False
        for transaction in transactions:
            body = transaction.body
            if body.genesis_hash != genesis_hash:
                is_foreign = True
            elif transaction.opened is None:
                unread.setdefault(body.kind, []).append(transaction)
        are_read = [_read_all(RULES.get(kind), some) for kind, some in unread.items()]
        if is_foreign or not all(are_read):
            for transaction in transactions:
                self.open(transaction)  # one of which is refused

    def opened(self, transactions: Iterable[Transaction]) -> list[tuple[Rule, Any] | None]:
        """What `open` would return for each; None where it was not opened yet."""
        genesis_hash = self._genesis_hash
        return [one.opened if one.body.genesis_hash == genesis_hash else None for one in transactions]

    def signed_inside(self, transactions: Iterable[Transaction]) -> dict[Hash, Signed]:
        """By id, what the payloads of these say that others have signed, where nobody has verified it yet.

        Most have nothing of the kind. A transaction that no state could accept has nothing either.
        """
        found = dict[Hash, Signed]()
        for transaction in transactions:
            if transaction.body.kind not in _SIGNED_INSIDE or transaction.id in self._proven:
                continue
            try:
                payload = self.open(transaction)[1]
            except InvalidTransaction:
                continue
            found[transaction.id] = payload.signed_inside(self._genesis_hash, transaction.body.sponsor)
        return found

    def note_proven(self, transaction_ids: Iterable[Hash]) -> None:
        """What the payloads of these carry was verified, and holds: rules need not verify it again."""
        self._proven.update(dict.fromkeys(transaction_ids))
        while len(self._proven) > PROVEN_MAX:
            self._proven.popitem(last=False)

    @property
    def proven(self) -> Collection[Hash]:
        """Ids of transactions that were `note_proven`, as they are at any time; of the last PROVEN_MAX."""
        return self._proven


def _read(transaction: Transaction) -> tuple[Rule, Any]:
    body = transaction.body
    rule = RULES.get(body.kind)
    if rule is None:
        raise InvalidTransaction(Code.UNKNOWN_KIND, f"this ledger has no transactions {body.kind!r}")
    try:
        opened = rule, decode(rule.payload, body.payload)
    except InvalidMessage as error:
        raise InvalidTransaction(error.code, f"the payload of {body.kind}: {error}") from None
    note_opened([transaction], [opened])
    return opened


def _read_all(rule: Rule | None, transactions: Sequence[Transaction]) -> bool:
    """Read the payloads of transactions of one kind, unless there is one among them that is none: False."""
    if rule is None:
        return False
    try:
        payloads = decode_all(rule.payload, [transaction.body.payload for transaction in transactions])
    except InvalidMessage:
        return False
    note_opened(transactions, zip(repeat(rule), payloads, strict=False))
    return True
