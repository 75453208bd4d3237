"""Every type that has bytes, values of it to try, and an oracle that says which bytes are a value of it.

The oracle reads the annotations by itself and the bytes with `tests.properties.cbor`: the codec and it
agree on nothing but the text at the head of `p2pledger.codec`.
"""

import dataclasses
import re
import types
import typing
from enum import Enum
from functools import cache
from typing import Annotated, Any, get_args, get_origin

from hypothesis import strategies as st
from p2pledger import merkle
from p2pledger.chain import authority, block, genesis, message, payloads, receipt, transaction, vote
from p2pledger.chain.invite import Invitation, Invite
from p2pledger.chain.joining import JoinReply, Knock
from p2pledger.chain.payloads import bodies
from p2pledger.chain.reading import Reading
from p2pledger.codec import Kept, Length, Pattern, Range
from p2pledger.ledger.commitment import StateProof
from p2pledger.ledger.modules.governance import rows as governance
from p2pledger.ledger.modules.governance.parameters import Setting, Upgrades
from p2pledger.ledger.modules.governance.proposals import Call
from p2pledger.ledger.modules.records import Correction
from p2pledger.ledger.modules.registry import rows
from p2pledger.ledger.modules.registry.organisations import OrganisationCount
from p2pledger.ledger.modules.registry.schemas import PublishedSchema
from p2pledger.ledger.modules.registry.status import StatusList
from p2pledger.ledger.modules.sequence import Sequence
from p2pledger.ledger.quota import Usage
from p2pledger.signer.guard import Guard
from p2pledger.types import ZERO_HASH, Hash, PeerId, PublicKey, Signature
from tests.properties import cbor
from tests.vectors.make import AUTHORITIES, GENESIS, signer

SENT = {"frame": message.Frame, "request": message.Request, "reply": message.Reply, "join reply": JoinReply}
WRITTEN = (
    *(genesis.Genesis, authority.AuthoritySet, block.Header, block.FinalBlock, block.Boundary),
    *(block.Proposal, vote.Vote, vote.Certificate, vote.Evidence, receipt.Result, receipt.Receipt),
    *(
        transaction.Transaction,
        transaction.Batch,
        transaction.Spread,
        Invite,
        Invitation,
        Knock,
        Reading,
        merkle.Path,
        merkle.Frontier,
    ),
    *(*payloads.PAYLOADS.values(), *payloads.MEASURES.values()),
    *(StateProof, Correction, Sequence, Usage, Guard),
    *(rows.Organisation, rows.Key, rows.Device, rows.Gateway, rows.GatewayNumber, rows.InviteUse),
    *(rows.GatewayCount, rows.Office),
    *(governance.Sitting, governance.Waiting, governance.Offender, governance.Readiness),
    *(governance.Proposal, governance.Poll, governance.Docket, Call, Setting, Upgrades),
    *(PublishedSchema, StatusList, OrganisationCount, *bodies.BODIES.values(), bodies.FieldList),
)
KINDS: dict[str, Any] = SENT | {kind.__name__: kind for kind in WRITTEN}
"""Everything that is sent, hashed, signed or stored, by name."""

_FIXED = {Hash: (32, 32), PublicKey: (33, 33), Signature: (64, 64), PeerId: (1, 64)}


@dataclasses.dataclass(frozen=True)
class Shape:
    """What an annotation says, in a form for eyes: the type, its limits, and what is inside."""

    type: Any
    least: int = 0
    most: int = 0
    pattern: str | None = None
    inside: "tuple[Any, ...]" = ()


@cache
def shape_of(annotation: Any) -> Shape:
    extra: tuple[Any, ...] = ()
    if get_origin(annotation) is Annotated:
        annotation, *rest = get_args(annotation)
        extra = tuple(rest)
    limits = _FIXED.get(annotation)
    while isinstance(annotation, typing.NewType):
        annotation = annotation.__supertype__
    for one in extra:
        if isinstance(one, Range | Length):
            limits = (one.least, one.most)
    pattern = next((one.expression for one in extra if isinstance(one, Pattern)), None)
    if get_origin(annotation) in (typing.Union, types.UnionType):
        return Shape(types.UnionType, inside=get_args(annotation))
    if get_origin(annotation) in (tuple, Kept):
        return Shape(get_origin(annotation), *(limits or (0, 0)), inside=get_args(annotation)[:1])
    if annotation is int:
        limits = limits or (0, 2**64 - 1)
    return Shape(annotation, *(limits or (0, 0)), pattern)


@cache
def fields_of(cls: type) -> dict[str, Any]:
    hints = typing.get_type_hints(cls, include_extras=True)
    return {field.name: hints[field.name] for field in dataclasses.fields(cls) if field.init}


# --- the oracle


class Wrong(Exception):
    """These bytes are no value of the type."""


def value_of(kind: Any, data: bytes) -> Any:
    """The value of a kind that these bytes are the one encoding of. Raises: Wrong."""
    try:
        plain = cbor.read(data)
    except cbor.NotCanonical as error:
        raise Wrong(str(error)) from None
    return _value(kind, plain)


def _value(annotation: Any, plain: Any) -> Any:
    shape = shape_of(annotation)
    if shape.type is types.UnionType:
        return _one_of(shape.inside, plain)
    if dataclasses.is_dataclass(shape.type):
        return _made(shape.type, plain)
    if isinstance(shape.type, type) and issubclass(shape.type, Enum):
        found = [member for member in shape.type if plain == member.value and type(plain) is not bool]
        _require(len(found) == 1)
        return found[0]
    if shape.type in (tuple, Kept):
        _require(type(plain) is list and shape.least <= len(plain) <= shape.most)
        return shape.type(_value(shape.inside[0], item) for item in plain)
    _require(type(plain) is shape.type)
    if shape.type is int:
        _require(shape.least <= plain <= shape.most)
    elif shape.type is not bool:
        content = plain.encode() if shape.type is str else plain
        _require(shape.least <= len(content) <= shape.most)
        _require(shape.pattern is None or re.fullmatch(shape.pattern, plain) is not None)
    return plain


def _one_of(choices: tuple[Any, ...], plain: Any) -> Any:
    if types.NoneType in choices:
        (choice,) = (c for c in choices if c is not types.NoneType)
        return None if plain is None else _value(choice, plain)
    _require(type(plain) is list and len(plain) > 0 and type(plain[0]) is int)
    matching = [choice for choice in choices if plain[0] == choice.TAG]
    _require(len(matching) == 1)
    return _made(matching[0], plain[1:])


def _made(cls: type, plain: Any) -> Any:
    fields = fields_of(cls)
    _require(type(plain) is list and len(plain) == len(fields))
    values = [_value(field, item) for field, item in zip(fields.values(), plain, strict=True)]
    try:
        return cls(*values)
    except ValueError as error:
        raise Wrong(str(error)) from None


def _require(holds: bool) -> None:
    if not holds:
        raise Wrong("not of this shape")


def _is_choice(annotation: Any) -> bool:
    inside = [choice for choice in shape_of(annotation).inside if choice is not types.NoneType]
    return shape_of(annotation).type is types.UnionType and len(inside) > 1


def plain_of(value: Any, *, tagged: bool = False) -> Any:
    """A value as lists, integers, bytes and texts, to be written down."""
    if dataclasses.is_dataclass(value):
        plain = [
            plain_of(getattr(value, name), tagged=_is_choice(hint))
            for name, hint in fields_of(type(value)).items()
        ]
        return [value.TAG, *plain] if tagged else plain  # type: ignore[attr-defined]
    if isinstance(value, tuple):
        return [plain_of(item) for item in value]
    return value.value if isinstance(value, Enum) else value


# --- values to try

KEYS = [signer(f"authority {i}").public_key for i in range(4)]
NAMES = st.sampled_from(["org-0", "org-1", "city", "a"])


@cache
def values(annotation: Any) -> st.SearchStrategy[Any]:
    """Values of an annotation: small, but with every field at its limits now and then."""
    if annotation is PublicKey:
        return st.sampled_from(KEYS) | st.binary(min_size=33, max_size=33)
    if annotation in (Hash, Signature):
        size = _FIXED[annotation][0]
        return st.integers(0, 255).map(lambda byte: bytes([byte]) * size)
    shape = shape_of(annotation)
    if shape.type is types.UnionType:
        return st.one_of([st.none() if c is types.NoneType else values(c) for c in shape.inside])
    if dataclasses.is_dataclass(shape.type):
        return _records(shape.type)
    if isinstance(shape.type, type) and issubclass(shape.type, Enum):
        return st.sampled_from(list(shape.type))
    if shape.type in (tuple, Kept):
        most = min(shape.most, max(shape.least, 3))
        return st.lists(values(shape.inside[0]), min_size=shape.least, max_size=most).map(shape.type)
    if shape.type is bool:
        return st.booleans()
    if shape.type is int:
        return st.integers(shape.least, shape.most) | st.sampled_from([shape.least, shape.most])
    if shape.type is bytes:
        return st.binary(min_size=shape.least, max_size=min(shape.most, max(shape.least, 40)))
    if shape.pattern is not None:
        texts = st.from_regex(re.compile(shape.pattern, re.ASCII), fullmatch=True)
        return texts.filter(lambda text: shape.least <= len(text) <= shape.most)
    return st.text(min_size=shape.least, max_size=min(shape.most, 8)).filter(
        lambda text: shape.least <= len(text.encode()) <= shape.most
    )


def _records(cls: type) -> st.SearchStrategy[Any]:
    if cls is authority.AuthoritySet:
        return st.integers(1, 4).map(lambda n: authority.AuthoritySet(AUTHORITIES.members[:n]))
    if cls is genesis.Genesis:
        return st.builds(
            lambda time_ms, parameters, quota: dataclasses.replace(
                GENESIS, time_ms=time_ms, parameters=parameters, residents_quota=quota
            ),
            *(values(fields_of(cls)[name]) for name in ("time_ms", "parameters", "residents_quota")),
        )
    raw = st.fixed_dictionaries({name: values(hint) for name, hint in fields_of(cls).items()})
    return raw.map(lambda fields: _fitting(cls, fields)).filter(lambda value: value is not None)


def _fitting(cls: type, fields: dict[str, Any]) -> Any:
    """The value with these fields, once those that hang together are made to; None when that fails."""
    if cls is vote.Ballot:
        is_skip = fields["kind"] is vote.VoteKind.SKIP
        digest = fields["digest"] if fields["digest"] != ZERO_HASH else bytes([1]) * 32
        fields["digest"] = ZERO_HASH if is_skip else digest
    elif cls is vote.Certificate:
        wanted = len(fields["signatures"])
        fields["bitmap"] = authority.to_bitmap(range(0, 2 * wanted, 2), 8)
    elif cls is vote.Evidence:
        ballots = [dataclasses.replace(fields["first"].ballot, kind=vote.VoteKind.NOTARISE, digest=d * 32)
                   for d in (b"\x01", b"\x02")]  # fmt: skip
        fields = {name: dataclasses.replace(fields["first"], ballot=ballot)
                  for name, ballot in zip(fields, ballots, strict=True)}  # fmt: skip
    elif cls is transaction.Body:
        fields["signers"] = tuple(sorted(set(fields["signers"])))
    elif cls is transaction.Transaction:
        wanted = len(fields["body"].signers)
        fields["signatures"] = (fields["signatures"] * wanted)[:wanted]
    elif cls is payloads.RecordBatch:
        fields["from_seq"] = min(fields["from_seq"], 2**62)
        fields["to_seq"] = fields["from_seq"] + fields["count"] - 1
        fields["first_ms"], fields["last_ms"] = sorted((fields["first_ms"], fields["last_ms"]))
    elif cls is payloads.RecordAppend:
        if fields["device"] is None or fields["seq"] is None:
            fields["device"] = fields["seq"] = None
        fields["references"] = tuple(dict.fromkeys(fields["references"]))
        if fields["body"] is not None:
            fields["commitment"] = None
    elif cls is payloads.OrgRegister:
        fields["admin_keys"] = tuple(dict.fromkeys(fields["admin_keys"]))
        fields["threshold"] = min(fields["threshold"], len(fields["admin_keys"]))
    elif cls is payloads.SchemaPublish:
        named = {field.name: field for field in fields["fields"]}
        fields["fields"] = tuple(named[name] for name in sorted(named))
    elif cls is bodies.FieldList:
        listed = {field.name: field for field in fields["fields"]}
        fields["fields"] = tuple(listed[name] for name in sorted(listed))
    elif cls is payloads.RecordCorrect:
        others = dict.fromkeys(r for r in fields["replacements"] if r != fields["target"])
        fields["replacements"] = tuple(others)
    try:
        return cls(**fields)
    except ValueError:
        return None
