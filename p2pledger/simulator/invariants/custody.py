"""Keeps the books of custody once more, by its own arithmetic, to find a broken invariant. Floor 8."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from fractions import Fraction
from typing import Any

from p2pledger.chain.genesis import Genesis
from p2pledger.chain.payloads import (
    DiscrepancyResolve,
    GatewayJoin,
    KeyAdd,
    KeyRotate,
    LotClose,
    LotCreate,
    LotTransform,
    OrgRegister,
    RecordAppend,
    RecordBatch,
    ShipAccept,
    ShipOffer,
    ShipReceive,
)
from p2pledger.chain.transaction import Transaction
from p2pledger.codec import decode
from p2pledger.types import PublicKey

KINDS: Mapping[str, type[Any]] = {
    one.KIND: one
    for one in (
        GatewayJoin,
        KeyAdd,
        KeyRotate,
        RecordAppend,
        RecordBatch,
        LotCreate,
        ShipOffer,
        ShipAccept,
        ShipReceive,
        LotTransform,
        LotClose,
        DiscrepancyResolve,
    )
}
EVERYBODY = ""
WEEK_MS = 7 * 24 * 60 * 60 * 1_000
COMES_IN = ("created", "made", "gains", "received")
IS_THERE = ("held", "in_transit", "frozen")
GOES_OUT = ("closed", "spent", "losses", "delivered")


@dataclass(frozen=True)
class LotBook:
    """A lot as the accepted transactions leave it. `stands` is one of IS_THERE, or None once it is gone."""

    material: str
    grams: int
    holder: str
    place: str
    stands: str | None = "held"
    manifest: bytes | None = None


@dataclass(frozen=True)
class ManifestBook:
    """A manifest as the accepted transactions leave it."""

    lots: tuple[bytes, ...]
    shipper: str
    carrier: str
    consignee: str
    grams: int
    offered_ms: int
    step: str = "offered"
    received: int = 0
    place: str = ""


class CustodyInvariants:
    """Told of every accepted transaction in order, it raises ValueError where one breaks an invariant.

    With the genesis file, it also knows whose keys have to sign.
    """

    def __init__(self, genesis: Genesis | None = None) -> None:
        self.lots: dict[bytes, LotBook] = {}
        self.manifests: dict[bytes, ManifestBook] = {}
        self.grams: Counter[tuple[str, str, str]] = Counter()
        """By organisation (or EVERYBODY), material, and one of the words above."""
        self.closed: Counter[tuple[str, str, str, str]] = Counter()
        """Grams by material, month, place, and name of the fate."""
        self._records: dict[bytes, str] = {}
        self._weighings: set[bytes] = set()
        self._owners: dict[PublicKey, str] | None = None
        if genesis is not None:
            self._owners = {key: one.id for one in genesis.organisations for key in one.admin_keys}
            self._owners.update((one.key, one.organisation) for one in genesis.gateways)

    def apply(self, transaction: Transaction, height: int, time_ms: int) -> None:
        """Take the next accepted transaction. Raises: ValueError."""
        body = transaction.body
        if body.kind not in KINDS:
            return
        payload = decode(KINDS[body.kind], body.payload)
        by = body.sponsor
        match payload:
            case KeyAdd() | GatewayJoin():
                self._own(payload.key, by)
            case KeyRotate():
                if self._owners is not None and payload.old_key in self._owners:
                    self._own(payload.new_key, by)
            case RecordAppend() | RecordBatch():
                self._records[transaction.id] = by
            case LotCreate():
                self._create(payload, by)
            case ShipOffer():
                self._offer(payload, by, time_ms)
            case ShipAccept():
                self._accept(payload, by, time_ms)
            case ShipReceive():
                self._receive(payload, by)
            case DiscrepancyResolve():
                self._resolve(payload, body.signers)
            case LotTransform():
                self._transform(payload, by, time_ms)
            case LotClose():
                self._close(payload, by, time_ms)

    def enact(self, payload: OrgRegister, from_height: int) -> None:
        """An organisation was decided on: its admins' keys sign for it."""
        for key in payload.admin_keys:
            self._own(key, payload.id)

    def recount(self) -> None:
        """Count every lot again, and hold all balances against it. Raises: ValueError."""
        counted: Counter[tuple[str, str, str]] = Counter()
        for lot in self.lots.values():
            if lot.stands is not None:
                counted[lot.holder, lot.material, lot.stands] += lot.grams
                counted[EVERYBODY, lot.material, lot.stands] += lot.grams
        kept = {key: grams for key, grams in self.grams.items() if key[2] in IS_THERE and grams}
        _check({key: grams for key, grams in counted.items() if grams} == kept, "lots and books differ")
        for organisation, material in {key[:2] for key in self.grams}:
            self._check_balance(organisation, material)

    def _check_balance(self, organisation: str, material: str) -> None:
        came = sum(self.grams[organisation, material, word] for word in COMES_IN)
        other = sum(self.grams[organisation, material, word] for word in (*IS_THERE, *GOES_OUT))
        found = f"{came} g came in and {other} g are there or went out"
        _check(came == other, f"{material} at {organisation or 'everybody'}: {found}")
        if organisation == EVERYBODY:
            received, delivered = (self.grams["", material, word] for word in ("received", "delivered"))
            _check(received == delivered, f"{material}: received {received} g, delivered {delivered} g")

    def _own(self, key: PublicKey, organisation: str) -> None:
        if self._owners is not None:
            self._owners[key] = organisation

    def _post(self, organisation: str, material: str, word: str, grams: int) -> None:
        for name in (organisation, EVERYBODY):
            self.grams[name, material, word] += grams

    def _put(self, lot_id: bytes, lot: LotBook) -> None:
        before = self.lots.get(lot_id)
        if before is not None and before.stands is not None:
            self._post(before.holder, before.material, before.stands, -before.grams)
        self.lots[lot_id] = lot
        if lot.stands is not None:
            self._post(lot.holder, lot.material, lot.stands, lot.grams)

    def _settled(self, lots: Sequence[bytes], *organisations: str) -> None:
        for material in {self.lots[lot_id].material for lot_id in lots}:
            for name in {*organisations, EVERYBODY}:
                self._check_balance(name, material)

    def _weigh(self, record: bytes, by: str) -> None:
        _check(self._records.get(record) == by, "a weighing is a record of who weighs")
        _check(record not in self._weighings, "a weighing was used twice")
        self._weighings.add(record)

    def _free(self, lot_id: bytes, by: str, time_ms: int) -> LotBook:
        lot = self.lots.get(lot_id)
        _check(lot is not None, "there is no such lot")
        assert lot is not None
        _check(lot.holder == by, "only its holder disposes of a lot")
        _check(lot.stands == "held", f"a lot that is {lot.stands or 'gone'} was used")
        if lot.manifest is not None:
            offer = self.manifests[lot.manifest]
            is_bound = offer.step == "offered" and time_ms <= offer.offered_ms + WEEK_MS
            _check(not is_bound, "a lot was used while it was on offer")
        return lot

    def _create(self, payload: LotCreate, by: str) -> None:
        _check(payload.lot not in self.lots, "a lot was made twice")
        self._weigh(payload.weighing, by)
        _check(not payload.place.startswith("dwelling"), "a dwelling is no source")
        self._put(payload.lot, LotBook(payload.material, payload.mass_g, by, payload.place))
        self._post(by, payload.material, "created", payload.mass_g)
        self._settled([payload.lot], by)

    def _offer(self, payload: ShipOffer, by: str, time_ms: int) -> None:
        _check(payload.manifest not in self.manifests, "a manifest was made twice")
        lots = {lot_id: self._free(lot_id, by, time_ms) for lot_id in payload.lots}
        grams = sum(lot.grams for lot in lots.values())
        parties = (by, payload.carrier, payload.consignee)
        self.manifests[payload.manifest] = ManifestBook(payload.lots, *parties, grams, time_ms)
        for lot_id, lot in lots.items():
            self._put(lot_id, replace(lot, manifest=payload.manifest))

    def _step(self, manifest_id: bytes, step: str) -> ManifestBook:
        manifest = self.manifests.get(manifest_id)
        _check(manifest is not None and manifest.step == step, f"the manifest is not {step}")
        assert manifest is not None
        _check(all(self.lots[lot].manifest == manifest_id for lot in manifest.lots), "a lot was in two loads")
        return manifest

    def _accept(self, payload: ShipAccept, by: str, time_ms: int) -> None:
        manifest = self._step(payload.manifest, "offered")
        _check(by == manifest.carrier, "only the carrier accepts")
        _check(time_ms <= manifest.offered_ms + WEEK_MS, "an offer was accepted after it lapsed")
        self.manifests[payload.manifest] = replace(manifest, step="accepted")
        for lot_id in manifest.lots:
            self._put(lot_id, replace(self.lots[lot_id], stands="in_transit"))
        self._settled(manifest.lots, manifest.shipper)

    def _receive(self, payload: ShipReceive, by: str) -> None:
        manifest = self._step(payload.manifest, "accepted")
        _check(by == manifest.consignee, "only the consignee receives")
        self._weigh(payload.weighing, by)
        received = replace(manifest, received=payload.mass_g, place=payload.place)
        difference = abs(payload.mass_g - manifest.grams)
        is_small = difference <= 1_000 or Fraction(difference, manifest.grams) <= Fraction(1, 100)
        if is_small and payload.mass_g:
            self._hand_over(payload.manifest, replace(received, step="received"), payload.mass_g)
            return
        self.manifests[payload.manifest] = replace(received, step="disputed")
        for lot_id in manifest.lots:
            self._put(lot_id, replace(self.lots[lot_id], stands="frozen"))
        self._settled(manifest.lots, manifest.shipper)

    def _resolve(self, payload: DiscrepancyResolve, signers: Sequence[PublicKey]) -> None:
        manifest = self._step(payload.manifest, "disputed")
        if self._owners is not None:
            signed = {self._owners.get(signer) for signer in signers}
            _check({manifest.shipper, manifest.consignee} <= signed, "both sides have to sign")
        bounds = sorted((manifest.grams, manifest.received))
        _check(bounds[0] <= payload.accepted_mass_g <= bounds[1], "no scale showed such a mass")
        self._hand_over(payload.manifest, replace(manifest, step="settled"), payload.accepted_mass_g)

    def _hand_over(self, manifest_id: bytes, manifest: ManifestBook, grams: int) -> None:
        self.manifests[manifest_id] = manifest
        shares = shared(grams, {lot_id: self.lots[lot_id].grams for lot_id in manifest.lots})
        for lot_id, share in shares.items():
            lot = self.lots[lot_id]
            word = "gains" if share > lot.grams else "losses"
            self._post(manifest.shipper, lot.material, word, abs(share - lot.grams))
            self._post(manifest.shipper, lot.material, "delivered", share)
            self._post(manifest.consignee, lot.material, "received", share)
            stands = "held" if share else None
            come = replace(lot, grams=share, holder=manifest.consignee, place=manifest.place, stands=stands)
            self._put(lot_id, come)
        self._settled(manifest.lots, manifest.shipper, manifest.consignee)

    def _transform(self, payload: LotTransform, by: str, time_ms: int) -> None:
        inputs = {lot_id: self._free(lot_id, by, time_ms) for lot_id in payload.inputs}
        before = sum(lot.grams for lot in inputs.values())
        after = sum(output.mass_g for output in payload.outputs) + payload.loss_g
        _check(before == after, f"inputs of {before} g became {after} g")
        losses = shared(payload.loss_g, {lot_id: lot.grams for lot_id, lot in inputs.items()})
        for lot_id, lot in inputs.items():
            self._put(lot_id, replace(lot, stands=None))
            self._post(by, lot.material, "losses", losses[lot_id])
            self._post(by, lot.material, "spent", lot.grams - losses[lot_id])
        for output in payload.outputs:
            _check(output.lot not in self.lots, "a lot was made twice")
            self._put(output.lot, LotBook(output.material, output.mass_g, by, payload.place))
            self._post(by, output.material, "made", output.mass_g)
        self._settled([*inputs, *(output.lot for output in payload.outputs)], by)

    def _close(self, payload: LotClose, by: str, time_ms: int) -> None:
        lot = self._free(payload.lot, by, time_ms)
        self._put(payload.lot, replace(lot, stands=None))
        self._post(by, lot.material, "closed", lot.grams)
        month = datetime.fromtimestamp(time_ms // 1_000, UTC).strftime("%Y-%m")
        self.closed[lot.material, month, lot.place, payload.fate.name] += lot.grams
        self._settled([payload.lot], by)


def shared(total: int, weights: Mapping[bytes, int]) -> dict[bytes, int]:
    """A total in proportion to weights: rounded down, then 1 more for those furthest behind."""
    whole = sum(weights.values())
    exact = {key: Fraction(total * weight, whole) for key, weight in weights.items()}
    given = {key: int(share) for key, share in exact.items()}
    for key in sorted(given, key=lambda key: (given[key] - exact[key], key))[: total - sum(given.values())]:
        given[key] += 1
    return given


def _check(holds: bool, otherwise: str) -> None:
    if not holds:
        raise ValueError(otherwise)
