"""Consent's invariants, judged over accepted transactions in their order. Floor 8.

Shares no code with the rules: every sum is made anew over plain lists of what was accepted, slowly.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from p2pledger.chain.payloads import (
    AccessIntent,
    AccessRefused,
    AccessServed,
    DataRegister,
    EraseDone,
    EraseRequest,
    GrantGive,
    GrantRevoke,
    HoldPlace,
    MandateEnd,
    MandateGive,
    Power,
)
from p2pledger.chain.transaction import Transaction
from p2pledger.codec import decode

DAY_MS = 86_400_000
YEAR_MS = 365 * DAY_MS
MONTH_MS = 30 * DAY_MS


@dataclass
class Data:
    """Data as it was registered, and all that became of it. `holds`: the end and the mandate by order."""

    payload: DataRegister
    organisation: str
    asked: tuple[int, int] | None = None
    erased: dict[str, int] = field(default_factory=dict)
    holds: dict[tuple[str, bytes], tuple[int, bytes]] = field(default_factory=dict)

    def is_held(self, time_ms: int, mandate: bytes | None = None) -> bool:
        return any(end > time_ms and mandate in (None, by) for end, by in self.holds.values())

    def is_to_be_erased(self, time_ms: int) -> bool:
        return self.asked is not None or time_ms >= self.payload.retain_until_ms

    def due_ms(self) -> int:
        asked_ms = self.payload.retain_until_ms if self.asked is None else self.asked[1]
        starts = [min(asked_ms, self.payload.retain_until_ms), *(end for end, _ in self.holds.values())]
        return max(starts) + MONTH_MS


@dataclass
class Grant:
    """A grant as it was given, and the height that it was revoked at."""

    payload: GrantGive
    height: int
    revoked: int | None = None


@dataclass
class Mandate:
    """A mandate as it was decided, and the heights that it is in force from and ends at."""

    payload: MandateGive
    begins: int
    ends: int | None = None

    def is_live(self, height: int) -> bool:
        return height >= self.begins and (self.ends is None or height < self.ends)


@dataclass
class Intent:
    """An intent as it was sent, and who reported on it: at which height, whether to serve."""

    payload: AccessIntent
    organisation: str
    height: int
    is_held: bool
    reports: dict[str, tuple[int, bool]] = field(default_factory=dict)


def _must(holds: bool, message: str) -> None:
    if not holds:
        raise ValueError(message)


class ConsentInvariants:
    """The books of consent. Its questions are what the module's queries have to answer."""

    def __init__(self) -> None:
        self.data: dict[bytes, Data] = {}
        self.grants: dict[bytes, Grant] = {}
        self.mandates: dict[bytes, Mandate] = {}
        self.intents: dict[bytes, Intent] = {}
        self._keys: set[bytes] = set()
        self._closed: set[bytes] = set()
        """Handles of which all was to be erased."""
        self._time_ms = 0
        self._judges: dict[str, tuple[type[Any], Callable[[Transaction, Any, int, int], None]]] = {
            DataRegister.KIND: (DataRegister, self._register),
            GrantGive.KIND: (GrantGive, self._give),
            GrantRevoke.KIND: (GrantRevoke, self._revoke),
            AccessIntent.KIND: (AccessIntent, self._intent),
            AccessServed.KIND: (AccessServed, self._served),
            AccessRefused.KIND: (AccessRefused, self._refused),
            EraseRequest.KIND: (EraseRequest, self._request),
            EraseDone.KIND: (EraseDone, self._done),
            HoldPlace.KIND: (HoldPlace, self._hold),
        }

    def apply(self, transaction: Transaction, height: int, time_ms: int) -> None:
        """Book the next accepted transaction. Raises ValueError when one breaks an invariant."""
        self._time_ms = time_ms
        known = self._judges.get(transaction.body.kind)
        if known is not None:
            kind, judge = known
            judge(transaction, decode(kind, transaction.body.payload), height, time_ms)

    def check(self, payload: MandateGive | MandateEnd, from_height: int, time_ms: int | None = None) -> None:
        """Whether a measure can be carried out after the last transaction, or at this time.

        Raises ValueError as `apply` does.
        """
        if isinstance(payload, MandateGive):
            _must(payload.id not in self.mandates, "a mandate's id was used twice")
            _must("*" not in payload.organisation, "a mandate is for anybody")
            ahead_ms = payload.until_ms - (self._time_ms if time_ms is None else time_ms)
            _must(0 < ahead_ms <= YEAR_MS, "a mandate lasts over 365 days, or no time")
        else:
            _must(payload.mandate in self.mandates, "what was never given was ended")
            ends = self.mandates[payload.mandate].ends
            _must(ends is None or from_height < ends, "a mandate's end was put off")

    def enact(self, payload: MandateGive | MandateEnd, from_height: int, time_ms: int | None = None) -> None:
        """Book a measure that the last transaction decided, or a block of this time.

        Raises ValueError as `check` does, and then books nothing.
        """
        self.check(payload, from_height, time_ms)
        if isinstance(payload, MandateGive):
            self.mandates[payload.id] = Mandate(payload, from_height)
        else:
            self.mandates[payload.mandate].ends = from_height

    # Questions.

    def is_entitled(self, intent_id: bytes, height: int) -> bool:
        """Whether an intent's basis held in its block, and still does at the end of a later one."""
        intent = self.intents.get(intent_id)
        if intent is None or height < intent.height:
            return False
        asked = self.data[intent.payload.data].asked
        if asked is not None and asked[0] <= height and not intent.is_held:
            return False
        if intent.payload.grant is None:
            return self.mandates[intent.payload.mandate or b""].is_live(height)
        revoked = self.grants[intent.payload.grant].revoked
        return revoked is None or height < revoked

    def uses(self, grant_id: bytes) -> int:
        """How many intents by this grant had a basis at the end of their own block."""
        return sum(
            one.payload.grant == grant_id and self.is_entitled(intent_id, one.height)
            for intent_id, one in self.intents.items()
        )

    def sealed(self, organisation: str | None = None) -> int:
        """How many sealed accesses there were."""
        return sum(
            one.payload.opens_height is not None and organisation in (None, one.organisation)
            for one in self.intents.values()
        )

    def shown(self, height: int, handle: bytes | None = None, organisation: str | None = None) -> list[bytes]:
        """The intents that are open at a height, by height and id."""
        found = [
            (one.height, intent_id)
            for intent_id, one in self.intents.items()
            if (one.payload.opens_height or 0) <= height
            and handle in (None, self.data[one.payload.data].payload.handle)
            and organisation in (None, one.organisation)
        ]
        return [intent_id for _, intent_id in sorted(found)]

    def held_by(self, custodian: str) -> list[bytes]:
        """The data that a custodian has not erased, by the end of its retention and id."""
        found = [
            (one.payload.retain_until_ms, data_id)
            for data_id, one in self.data.items()
            if custodian in one.payload.custodians and custodian not in one.erased
        ]
        return [data_id for _, data_id in sorted(found)]

    def overdue(self, time_ms: int) -> list[tuple[int, bytes, tuple[str, ...]]]:
        """What should be erased by a time and is not, with who is missing, the longest overdue first."""
        found = []
        for data_id, one in self.data.items():
            missing = tuple(name for name in one.payload.custodians if name not in one.erased)
            if missing and one.due_ms() < time_ms:
                found.append((one.due_ms(), data_id, missing))
        return sorted(found)

    def open_holds(self, time_ms: int) -> list[tuple[int, bytes, bytes, str]]:
        """The holds in force at a time: end, data, order, organisation."""
        return sorted(
            (end, data_id, order, organisation)
            for data_id, one in self.data.items()
            for (organisation, order), (end, _) in one.holds.items()
            if end > time_ms
        )

    def commercial(self, buyer: str) -> list[bytes]:
        """The grants to an organisation for a price or its gain, by height and id."""
        for_gain = {"MARKETING", "SELL_PRODUCTS", "COMMERCIAL_RESEARCH"}
        found = [
            (one.height, grant_id)
            for grant_id, one in self.grants.items()
            if one.payload.grantee == buyer
            and (one.payload.price is not None or one.payload.purpose.name in for_gain)
        ]
        return [grant_id for _, grant_id in sorted(found)]

    # Judgements.

    def _register(self, transaction: Transaction, payload: DataRegister, height: int, time_ms: int) -> None:
        sponsor, custodians = transaction.body.sponsor, payload.custodians
        _must(len(set(custodians)) == len(custodians), "two custodians are one organisation")
        _must(2 <= payload.threshold <= len(custodians) <= 16, "a threshold without sense")
        _must(payload.retain_until_ms > time_ms, "data is registered after its retention")
        if payload.schema == "personal.reading/1":
            _must(payload.retain_until_ms % DAY_MS == 0, "a retention tells a time within a day")
        _must(payload.handle not in self._closed, "data under a handle that has ended")
        others = {one.organisation for one in self.data.values() if one.payload.handle == payload.handle}
        _must(others <= {sponsor}, "two organisations share a handle")
        self.data[transaction.id] = Data(payload, sponsor)

    def _give(self, transaction: Transaction, payload: GrantGive, height: int, time_ms: int) -> None:
        _must("*" not in payload.grantee and payload.grantee != "residents", "a grant is to anybody")
        _must(0 < payload.until_ms - time_ms <= YEAR_MS, "a grant lasts over 365 days, or no time")
        signers = transaction.body.signers
        _must(payload.handle in signers and len(signers) > 1, "a grant without the resident or a gateway")
        known = any(one.payload.handle == payload.handle for one in self.data.values())
        _must(known, "a grant for a handle without data")
        _must(payload.handle not in self._closed, "a grant for a handle that has ended")
        self.grants[transaction.id] = Grant(payload, height)

    def _revoke(self, transaction: Transaction, payload: GrantRevoke, height: int, time_ms: int) -> None:
        grant = self.grants[payload.grant]
        _must(grant.payload.handle in transaction.body.signers, "not the resident revoked")
        _must(grant.revoked is None, "a grant was revoked twice")
        grant.revoked = height

    def _intent(self, transaction: Transaction, payload: AccessIntent, height: int, time_ms: int) -> None:
        sponsor, data = transaction.body.sponsor, self.data[payload.data]
        _must(payload.encryption_key not in self._keys, "a one-time key was used twice")
        self._keys.add(payload.encryption_key)
        is_held = payload.mandate is not None and data.is_held(time_ms, payload.mandate)
        _must(is_held or not data.is_to_be_erased(time_ms), "an access to what is to be erased")
        _must(len(data.erased) < len(data.payload.custodians), "an access to what is erased")
        intent = self.intents[transaction.id] = Intent(payload, sponsor, height, is_held)
        if payload.opens_height is not None:
            _must(0 < payload.opens_height - height <= 2**20, "a sealed access does not open in time")
        if payload.grant is not None:
            grant = self.grants[payload.grant].payload
            asked = sponsor, payload.purpose, data.payload.handle
            _must(asked == (grant.grantee, grant.purpose, grant.handle), "an access outside its grant")
            _must(time_ms < grant.until_ms, "an access after its grant's end")
            _must(self.uses(payload.grant) <= grant.max_uses, "a use too many")
            _must(payload.opens_height is None, "a sealed access under a grant")
        else:
            mandate = self._mandated(payload.mandate or b"", sponsor, Power.ACCESS, height, time_ms)
            _must(payload.purpose is mandate.purpose, "an access outside its mandate's purpose")
            _must(data.payload.schema in mandate.schemas, "an access outside its mandate's schemas")
            is_sealed = payload.opens_height is not None
            _must(not is_sealed or Power.SEAL in mandate.powers, "an access sealed without the power to")
        _must(self.is_entitled(transaction.id, intent.height), "an access without a basis")

    def _served(self, transaction: Transaction, payload: AccessServed, height: int, time_ms: int) -> None:
        _must(self.is_entitled(payload.intent, height), "a release without a basis")
        data = self.data[self.intents[payload.intent].payload.data]
        _must(transaction.body.sponsor not in data.erased, "a release of what its custodian erased")
        self._report(transaction, payload.intent, height, is_served=True)

    def _refused(self, transaction: Transaction, payload: AccessRefused, height: int, time_ms: int) -> None:
        self._report(transaction, payload.intent, height, is_served=False)

    def _report(self, transaction: Transaction, intent_id: bytes, height: int, *, is_served: bool) -> None:
        intent, sponsor = self.intents[intent_id], transaction.body.sponsor
        _must(sponsor in self.data[intent.payload.data].payload.custodians, "not a custodian reported")
        _must(sponsor not in intent.reports, "a custodian reported twice")
        _must(intent.height < height, "a report on an intent that is not final")
        intent.reports[sponsor] = height, is_served

    def _request(self, transaction: Transaction, payload: EraseRequest, height: int, time_ms: int) -> None:
        for data_id, one in self.data.items():
            if data_id == payload.data or one.payload.handle == payload.handle:
                _must(one.payload.handle in transaction.body.signers, "not the resident wants it erased")
                if one.asked is None and len(one.erased) < len(one.payload.custodians):
                    one.asked = height, time_ms
        if payload.handle is not None:
            _must(payload.handle not in self._closed, "a handle that has ended ends again")
            self._closed.add(payload.handle)

    def _done(self, transaction: Transaction, payload: EraseDone, height: int, time_ms: int) -> None:
        sponsor, data = transaction.body.sponsor, self.data[payload.data]
        _must(sponsor in data.payload.custodians, "not a custodian erased")
        _must(sponsor not in data.erased, "a custodian erased twice")
        _must(data.is_to_be_erased(time_ms), "an erasure that nobody asked for")
        _must(not data.is_held(time_ms), "an erasure of what is held")
        data.erased[sponsor] = height

    def _hold(self, transaction: Transaction, payload: HoldPlace, height: int, time_ms: int) -> None:
        sponsor = transaction.body.sponsor
        mandate = self._mandated(payload.mandate, sponsor, Power.HOLD, height, time_ms)
        _must(0 < payload.until_ms - time_ms <= YEAR_MS, "a hold lasts over 365 days, or no time")
        for data_id, one in self.data.items():
            is_meant = data_id == payload.data or one.payload.handle == payload.handle
            is_there = len(one.erased) < len(one.payload.custodians)
            if is_meant and is_there and one.payload.schema in mandate.schemas:
                one.holds[sponsor, payload.order_hash] = payload.until_ms, payload.mandate

    def _mandated(
        self, mandate_id: bytes, sponsor: str, power: Power, height: int, time_ms: int
    ) -> MandateGive:
        mandate = self.mandates[mandate_id]
        _must(mandate.payload.organisation == sponsor, "another's mandate was used")
        _must(power in mandate.payload.powers, "a mandate without the power was used")
        in_force = mandate.is_live(height) and time_ms < mandate.payload.until_ms
        _must(in_force, "a mandate was used that is not in force")
        return mandate.payload
