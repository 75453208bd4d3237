"""A ledger for tests of consent: measures that are carried out, time that passes, index rows to scan."""

from dataclasses import replace

from p2pledger.chain.genesis import LAN, RESIDENTS
from p2pledger.chain.payloads import (
    AccessIntent,
    DataRegister,
    EraseDone,
    EraseRequest,
    ErasureMethod,
    GrantGive,
    GrantRevoke,
    HoldPlace,
    MandateGive,
    Operation,
    Power,
    Purpose,
    SizeClass,
)
from p2pledger.chain.transaction import Transaction
from p2pledger.crypto import is_signed
from p2pledger.ledger.modules.consent import MEASURES
from p2pledger.ledger.overlay import Overlay
from p2pledger.ledger.rules import Context, Round
from p2pledger.ledger.state import Changes
from p2pledger.types import Epoch, Hash, Height, Millis
from tests.ledgers import START_MS, Effects, Ledger, genesis, signer, transaction

DAY_MS = 86_400_000
GENESIS = genesis(parameters=replace(LAN, state_buckets=16))
CUSTODIANS = ("authority-0", "authority-1", "authority-2")
ADMINS = {f"authority-{i}": f"admin {i}" for i in range(4)} | {"city": "city 1", "utility": "utility 1"}
GATEWAY = "city gateway"
MANDATE = b"mandate".ljust(16)
ORDER = Hash(b"order".ljust(32))


def key(name: str):
    return signer(name).public_key


def day(days: int) -> Millis:
    """The first instant of the UTC day so many days after the start."""
    return Millis((START_MS // DAY_MS + days) * DAY_MS)


class ConsentLedger(Ledger):
    """Carries out measures by themselves, and scans the rows that its blocks wrote."""

    def __init__(self) -> None:
        super().__init__(GENESIS)

    def enact(self, payload, from_height: int = 0) -> None:
        """As a vote in the last block would have done it. Raises what the measure raises."""
        at = Round(Epoch(0), Height(self.height), Millis(self.time_ms))
        changes, context = Changes(self.reader, at.height), Context(self.genesis, at, is_signed)
        measure = next(one for one in MEASURES if one.payload is type(payload))
        measure.enact(changes, context, payload, Height(from_height or self.height + 1))
        writes = changes.writes()
        buckets = self.genesis.parameters.state_buckets
        self.reader = Overlay(self.reader, Effects(self.reader, writes, buckets=buckets))
        self.rows += context.rows

    def builds(self, *candidates: Transaction) -> tuple[Transaction, ...]:
        """A block of those candidates that succeed, which are returned in its order."""
        at = self.next_round
        built = self.machine.build(self.reader, self.execution.frontier, at, candidates)
        self.execution = built.execution
        self.reader = Overlay(self.reader, self.execution)
        self.height, self.time_ms = at.height, at.time_ms
        self.rows += self.execution.index_rows
        return built.transactions

    def passes(self, time_ms: int) -> None:
        """The next block comes so much later."""
        self.time_ms += time_ms

    def one(self, payload, sponsor: str, *names: str) -> Transaction:
        """A transaction for a block of several."""
        return transaction(self.genesis, payload, sponsor, *names, expires_ms=self.time_ms + 60_000)

    def registers(self, handle: str = "handle", sponsor: str = "city", **changes) -> Hash:
        return self.does(register(handle, **changes), sponsor, ADMINS[sponsor]).id

    def gives(self, handle: str = "handle", **changes) -> Hash:
        return self.does(give(self, handle, **changes), RESIDENTS, handle, GATEWAY).id


def register(whose: str = "handle", **changes) -> DataRegister:
    payload = DataRegister(
        commitment=Hash(bytes([7]) * 32),
        schema="personal.reading/1",
        handle=key(whose),
        custodians=CUSTODIANS,
        threshold=2,
        size_class=SizeClass.KIB_4,
        retain_until_ms=day(100),
    )
    return replace(payload, **changes)


def give(ledger: Ledger, whose: str = "handle", **changes) -> GrantGive:
    payload = GrantGive(
        handle=key(whose),
        grantee="utility",
        purpose=Purpose.SERVICE_PROVISION,
        operations=(Operation.CONSULT,),
        notice_hash=Hash(bytes(32)),
        until_ms=Millis(ledger.time_ms + 10 * DAY_MS),
        max_uses=3,
        price=None,
    )
    return replace(payload, **changes)


def mandate(ledger: Ledger, **changes) -> MandateGive:
    payload = MandateGive(
        id=MANDATE,
        organisation="utility",
        legal_reference="eli:act:12",
        purpose=Purpose.ENFORCE_SECURITY,
        powers=(Power.ACCESS, Power.SEAL, Power.HOLD),
        schemas=("personal.reading/1",),
        until_ms=Millis(ledger.time_ms + 365 * DAY_MS),
    )
    return replace(payload, **changes)


def ask(data: Hash, grant: Hash | None, one_time: str, **changes) -> AccessIntent:
    """An intent under a grant, or under the mandate."""
    payload = AccessIntent(
        data=data,
        grant=grant,
        mandate=MANDATE if grant is None else None,
        purpose=Purpose.ENFORCE_SECURITY if grant is None else Purpose.SERVICE_PROVISION,
        encryption_key=key(one_time),
        opens_height=None,
    )
    return replace(payload, **changes)


def revoke(grant: Hash) -> GrantRevoke:
    return GrantRevoke(grant)


def erase(data: Hash | None = None, handle: str | None = None) -> EraseRequest:
    return EraseRequest(None if handle is None else key(handle), data)


def hold(ledger, data: Hash | None = None, handle: str | None = None, **changes) -> HoldPlace:
    until_ms = Millis(ledger.time_ms + 50 * DAY_MS)
    of = None if handle is None else key(handle)
    return replace(HoldPlace(MANDATE, of, data, ORDER, until_ms), **changes)


def done(data: Hash) -> EraseDone:
    return EraseDone(data, ErasureMethod.CRYPTOGRAPHIC_ERASE)
