"""One encoding per value; everything else refused."""

import enum
import json
from dataclasses import FrozenInstanceError, dataclass, field, fields, is_dataclass, make_dataclass, replace
from typing import Annotated, Any

import cbor2
import pytest
from p2pledger import codec
from p2pledger.codec import (
    U8,
    U64,
    Kept,
    Length,
    Pattern,
    Range,
    decode,
    decode_all,
    encode,
    from_json,
    heads,
    shapes,
    to_json,
)
from p2pledger.codec.templates import ALIKE_MIN, Templates
from p2pledger.errors import InvalidMessage
from p2pledger.types import Hash, Height, PeerId, PublicKey, Signature


class Colour(enum.Enum):
    RED = 1
    DARK_BLUE = 2


@dataclass(frozen=True)
class Inner:
    TAG = 1

    name: Annotated[str, Length(1, 8), Pattern("[a-zß]+")]
    height: Height


@dataclass(frozen=True)
class Other:
    TAG = 2

    flag: bool


@dataclass(frozen=True)
class Outer:
    small: U8
    signed: Annotated[int, Range(-5, 5)]
    data: Annotated[bytes, Length(0, 3)]
    colour: Colour
    inner: Inner
    many: Annotated[tuple[Inner, ...], Length(0, 2)]
    maybe: Hash | None
    either: Inner | Other
    neither: Inner | Other | None

    def __post_init__(self) -> None:
        if self.small == 13:
            raise ValueError("13 brings bad luck")


@dataclass(frozen=True, slots=True)
class Slotted:
    first: U8
    second: U8
    total: int = field(init=False)

    def __post_init__(self) -> None:
        self.check_fields()
        object.__setattr__(self, "total", self.first + self.second)

    def check_fields(self) -> None:
        if self.first == self.second:
            raise ValueError("twins")


GOOD = Outer(
    200, -5, b"\x01\x02", Colour.DARK_BLUE, Inner("abc", Height(2**40)), (Inner("x", Height(0)),),
    Hash(bytes(32)), Other(True), None,
)  # fmt: skip
PLAIN = [200, -5, b"\x01\x02", 2, ["abc", 2**40], [["x", 0]], bytes(32), [2, True], None]


def changed(position: int, value: Any) -> bytes:
    return cbor2.dumps([*PLAIN[:position], value, *PLAIN[position + 1 :]])


def test_the_encoding_is_an_array_of_the_fields():
    assert encode(GOOD) == cbor2.dumps(PLAIN)
    assert decode(Outer, cbor2.dumps(PLAIN)) == GOOD


@pytest.mark.parametrize("count", [1, ALIKE_MIN])
def test_a_class_with_slots_is_decoded_frozen_and_without_what_it_derives(count):
    good = Slotted(1, 2)
    assert encode(good) == cbor2.dumps([1, 2]) and to_json(good) == {"first": 1, "second": 2}
    for _ in range(2):  # as it comes, and by the template that was learnt from that
        for decoded in decode_all(Slotted, [encode(good)] * count):
            assert type(decoded) is Slotted and (decoded.first, decoded.second) == (1, 2)
            with pytest.raises(FrozenInstanceError):
                decoded.first = 2
            with pytest.raises(AttributeError):
                _ = decoded.total
    with pytest.raises(InvalidMessage, match="twins"):
        decode_all(Slotted, [cbor2.dumps([2, 2])] * count)
    assert from_json(Slotted, {"first": 1, "second": 2}).total == 3


def test_json_is_an_object_of_the_fields():
    shown = to_json(GOOD)
    assert shown["data"] == "0102" and shown["colour"] == "dark_blue"
    assert shown["either"] == {"type": "Other", "flag": True} and shown["neither"] is None
    assert from_json(Outer, json.loads(json.dumps(shown))) == GOOD


@pytest.mark.parametrize(
    ("position", "value"),
    [
        (0, 256), (0, -1), (0, True), (0, 1.0), (0, "1"), (0, None), (0, 13), (0, 2**70),
        (1, -6), (1, 6),
        (2, b"1234"), (2, "12"), (2, [1]),
        (3, 3), (3, "RED"), (3, True), (3, [1]), (3, {}),
        (4, ["", 0]), (4, ["a" * 9, 0]), (4, ["ßßßßß", 0]), (4, ["A", 0]), (4, ["abc"]), (4, ["abc", 0, 0]),
        (4, "abc"), (4, {"name": "abc", "height": 0}), (4, ["abc", 2**64]),
        (5, [["x", 0]] * 3), (5, "xx"), (5, {}), (5, None),
        (6, bytes(31)), (6, bytes(33)), (6, False),
        (7, [3, True]), (7, [1, True]), (7, [2]), (7, []), (7, None), (7, True), (7, [True, True]),
        (7, [[2], 1]),
        (8, []), (8, False),
        (2, cbor2.CBORTag(2, b"12")), (0, cbor2.CBORTag(35, "(a+)+$")), (0, cbor2.undefined),
        (0, cbor2.CBORSimpleValue(99)),
    ],
)  # fmt: skip
def test_a_field_beyond_its_limits_is_malformed(position, value):
    with pytest.raises(InvalidMessage) as refusal:
        decode(Outer, changed(position, value))
    assert refusal.value.code == "malformed"


OTHERWISE = [
    pytest.param(b"\x9f" + cbor2.dumps(PLAIN)[1:] + b"\xff", "malformed", id="indefinite array"),
    pytest.param(b"\x98\x09" + cbor2.dumps(PLAIN)[1:], "not_canonical", id="long array length"),
    pytest.param(b"\x89\x19\x00\xc8" + cbor2.dumps(PLAIN)[3:], "not_canonical", id="long integer"),
    pytest.param(cbor2.dumps(PLAIN) + b"\x00", "not_canonical", id="trailing byte"),
    pytest.param(cbor2.dumps(PLAIN)[:-1], "malformed", id="truncated"),
    pytest.param(b"", "malformed", id="nothing"),
    pytest.param(b"\x9b" + b"\xff" * 8, "malformed", id="endless array"),
    pytest.param(b"\x9b\x00\x00\x00\x00\xff\xff\xff\xff", "malformed", id="array of four thousand millions"),
    pytest.param(b"\x5b\x00\x00\x00\xff\xff\xff\xff\xff", "malformed", id="string of a terabyte"),
    pytest.param(b"\x81" * 100_000, "malformed", id="deep nesting"),
    pytest.param(b"\xd8\x1c\x81\xd8\x1d\x00", "malformed", id="shared reference to itself"),
    pytest.param(b"\x63\xff\xff\xff", "malformed", id="not UTF-8"),
]


@pytest.mark.parametrize(("data", "code"), OTHERWISE)
def test_another_encoding_is_refused(data, code):
    with pytest.raises(InvalidMessage) as refusal:
        decode(Outer, data)
    assert refusal.value.code == code


@pytest.mark.parametrize(
    "bad",
    [
        Inner("", Height(0)),
        Inner("abc", Height(-1)),
        Inner("abc", Height(2**64)),
        Inner("\ud800", Height(0)),
        Inner(b"abc", Height(0)),  # type: ignore[arg-type]
        Other(1),  # type: ignore[arg-type]
    ],
)
def test_what_could_not_be_decoded_is_not_encoded(bad):
    with pytest.raises(ValueError):
        encode(bad)


def test_a_decoded_value_is_as_one_that_was_made():
    decoded = decode(Outer, encode(GOOD))
    assert list(vars(decoded).items()) == list(vars(GOOD).items()) and hash(decoded) == hash(GOOD)
    with pytest.raises(FrozenInstanceError):
        decoded.small = 1


class Size(enum.Enum):
    SMALL = 1
    LARGE = 1_000


@dataclass(frozen=True)
class Sized:
    whole: Annotated[int, Range(-(2**63), 2**63 - 1)]
    few: Annotated[int, Range(-300, 3)]
    data: Annotated[bytes, Length(0, 70_000)]
    text: Annotated[str, Length(0, 300)]
    size: Size
    sizes: Annotated[tuple[Size | None, ...], Length(0, 30)]


@pytest.mark.parametrize("number", [0, 23, 24, 255, 256, 2**16 - 1, 2**16, 2**32 - 1, 2**32, 2**63 - 1])
def test_every_length_of_a_head(number):
    short = min(number, 299)
    value = Sized(
        number, -short - 1, bytes(min(number, 70_000)), "ß" * (short // 2), Size.LARGE,
        (Size.SMALL, None, Size.LARGE) * (short // 30),
    )  # fmt: skip
    for each in (value, replace(value, whole=~number, few=min(number, 3), size=Size.SMALL)):
        assert decode(Sized, encode(each)) == each
        with pytest.raises(InvalidMessage) as refusal:
            decode(Sized, encode(each) + b"\x00")
        assert refusal.value.code == "not_canonical"


def test_a_field_may_have_any_name():
    """What is compiled for a class has names of its own, and uses builtins."""
    names = [
        "it",
        "made",
        "fields",
        "size",
        "error",
        "item",
        "compiled",
        "len",
        "type",
        "tuple",
        "int",
        "str",
        "bytes",
        "Refused",
        "_1",
        "it_item",
    ]
    cls = make_dataclass("Named", [(name, Annotated[str, Length(0, 9)]) for name in names], frozen=True)
    value = cls(*names)
    assert encode(value) == cbor2.dumps(names) and decode(cls, encode(value)) == value


def test_more_heads_than_are_remembered(monkeypatch):
    monkeypatch.setattr(heads, "HEADS_MAX", 3)
    for number in [0, 1, 23, 24, 255, 256, 2**16, 2**32 - 1, 0, 1]:
        assert encode(Inner("x", Height(number))) == cbor2.dumps(["x", number])


def test_more_texts_than_are_remembered(monkeypatch):
    monkeypatch.setattr(shapes, "TEXTS_MAX", 3)
    for text in ["a", "b", "c", "d", "ß", "a", "b"]:
        inner = Inner(text, Height(0))
        assert decode(Inner, encode(inner)) == inner
        with pytest.raises(InvalidMessage, match="does not match"):
            decode(Inner, cbor2.dumps(["A", 0]))


# --- what is like what was read before is read by it as a template


def alike(some: int, **changes: Any) -> list[Outer]:
    return [replace(GOOD, **{name: value(i) for name, value in changes.items()}) for i in range(some)]


OPEN = {
    "small": lambda i: 24 + i,
    "data": lambda i: bytes([i, i]),
    "inner": lambda i: Inner("abc", Height(2**40 + i)),
    "many": lambda i: (Inner("x", Height(i % 24)),),
    "maybe": lambda i: Hash(bytes([i]) * 32),
}


@pytest.fixture
def templates(monkeypatch):
    made = Templates()
    monkeypatch.setattr(codec, "_TEMPLATES", made)
    return made


@pytest.fixture
def plainly(monkeypatch):
    """How often cbor2 was asked."""
    read = codec._plain
    asked = []
    monkeypatch.setattr(codec, "_plain", lambda *data: asked.append(data) or read(*data))
    return asked


def test_numbers_and_byte_strings_may_differ(templates, plainly):
    some = alike(ALIKE_MIN, **OPEN)
    for _ in range(3):
        assert decode_all(Outer, [encode(one) for one in some]) == some
    assert len(plainly) == 1


@pytest.mark.parametrize(("among", "count"), [(b"aa", 1), (b"bb", ALIKE_MIN)])
def test_byte_strings_that_are_equal_in_all_are_one(templates, among, count):
    some = [replace(GOOD, data=b"aa") for _ in range(ALIKE_MIN)]
    some[ALIKE_MIN // 2] = replace(GOOD, data=among)
    decode_all(Outer, [encode(GOOD)] * ALIKE_MIN)
    read = decode_all(Outer, [encode(one) for one in some])
    assert read == some and len({id(one.data) for one in read}) == count


@pytest.mark.parametrize(
    "changes",
    [
        {"signed": lambda i: -1 - i % 5},
        {"colour": lambda i: [Colour.RED, Colour.DARK_BLUE][i % 2]},
        {"inner": lambda i: Inner("abd" if i else "abc", Height(2**40))},
        {"either": lambda i: Other(i % 2 == 0)},
    ],
)
def test_what_is_not_alike_is_read_as_ever(templates, plainly, changes):
    decode_all(Outer, [encode(GOOD)] * ALIKE_MIN)
    some = alike(ALIKE_MIN, **changes)
    assert decode_all(Outer, [encode(one) for one in some]) == some
    assert len(plainly) == 2


def test_few_of_one_length_and_long_ones_have_no_template(templates, plainly, monkeypatch):
    few = [encode(GOOD)] * (ALIKE_MIN - 1)
    monkeypatch.setattr("p2pledger.codec.templates.TEMPLATE_BYTES_MAX", len(few[0]) - 1)
    for _ in range(2):
        assert decode_all(Outer, few) == [GOOD] * (ALIKE_MIN - 1)
        assert decode_all(Outer, [encode(GOOD)] * ALIKE_MIN) == [GOOD] * ALIKE_MIN
    assert len(plainly) == 4


def test_each_length_has_a_template_and_what_is_rare_has_none(templates, plainly):
    some = [replace(GOOD, small=i, data=bytes(i % 3)) for i in range(100, 100 + 3 * ALIKE_MIN)]
    some[5:5] = [replace(GOOD, maybe=None)] * 3
    some.append(replace(GOOD, maybe=None, either=Inner("abc", Height(7))))
    data = [encode(one) for one in some]
    for asked in (4, 5):  # for three lengths, and for what is rare
        assert decode_all(Outer, data) == some
        assert len(plainly) == asked
    with pytest.raises(InvalidMessage):
        decode_all(Outer, [*data, data[0][:-1] + b"\x00"])


def test_the_oldest_template_goes_first(templates, plainly, monkeypatch):
    monkeypatch.setattr("p2pledger.codec.templates.TEMPLATES_MAX", 2)
    sizes = [[encode(replace(GOOD, data=bytes(size)))] * ALIKE_MIN for size in range(3)]
    for number, asked in [(0, 1), (1, 2), (2, 3), (1, 3), (2, 3), (0, 4), (2, 4), (1, 5)]:
        decode_all(Outer, sizes[number])
        assert len(plainly) == asked


@pytest.mark.parametrize(
    ("good", "bad", "code"),
    [
        (replace(GOOD, small=1), b"\x89\x0d\x24", "malformed"),
        (replace(GOOD, small=1), b"\x89\x18\x24", "malformed"),
        (replace(GOOD, small=200), b"\x89\x18\x17\x24", "not_canonical"),
        (replace(GOOD, small=1, signed=3), b"\x89\x01\x06", "malformed"),
        (Inner("a", Height(2**32)), b"\x82\x61a\x1b\0\0\0\0\xff\xff\xff\xff", "not_canonical"),
        (Inner("a", Height(2**16)), b"\x82\x61a\x1a\0\0\xff\xff", "not_canonical"),
        (Inner("a", Height(2**8)), b"\x82\x61a\x19\0\xff", "not_canonical"),
    ],
)
def test_a_number_is_judged_whatever_its_template(templates, good, bad, code):
    """It may be bad luck, beyond its bounds, or not have the shortest head."""
    data = encode(good)
    assert decode_all(type(good), [data] * ALIKE_MIN) == [good] * ALIKE_MIN
    with pytest.raises(InvalidMessage) as refusal:
        decode_all(type(good), [*[data] * ALIKE_MIN, bad + data[len(bad) :]])
    assert refusal.value.code == code


@dataclass(frozen=True)
class Holder:
    number: U8
    kept: Annotated[Kept[Inner], Length(0, 3)]


@dataclass(frozen=True)
class Plain:
    number: U8
    kept: Annotated[tuple[Inner, ...], Length(0, 3)]


@pytest.mark.parametrize("count", range(4))
def test_a_kept_tuple_is_encoded_as_any_other(count):
    items = tuple(Inner("abc", Height(2**n)) for n in range(count))
    one = Holder(1, Kept(items))
    for number in (1, 2, 2):
        another = replace(one, number=number)
        assert encode(another) == encode(Plain(number, items))
        assert decode(Holder, encode(another)) == another
    assert one.kept.encoded is not None
    assert from_json(Holder, to_json(one)) == one
    assert to_json(one) == to_json(Plain(1, items))
    for _ in range(2):  # the second time by a template
        for each in decode_all(Holder, [encode(one)] * ALIKE_MIN):
            assert each == one
            assert encode(each) == encode(one)
    with pytest.raises(ValueError):
        encode(Holder(1, items))  # type: ignore[arg-type]
    with pytest.raises(ValueError):
        encode(Holder(1, Kept([*items, *[Inner("x", Height(0))] * 4])))


def test_a_list_is_not_a_tuple():
    with pytest.raises(ValueError):
        encode(Outer(1, 0, b"", Colour.RED, GOOD.inner, [], None, GOOD.either, None))  # type: ignore[arg-type]


def test_a_union_is_encoded_as_a_union():
    assert encode(Other(True)) == cbor2.dumps([True])
    assert encode(Other(True), Inner | Other) == cbor2.dumps([2, True])
    assert decode(Inner | Other, cbor2.dumps([1, "abc", 7])) == Inner("abc", Height(7))
    with pytest.raises(ValueError):
        encode(GOOD, Inner | Other)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"more": 1}, "unknown field 'more'"),
        ({"data": "0G"}, "data: not lower-case"),
        ({"data": "AB"}, "data: not lower-case"),
        ({"data": "012"}, "data: not lower-case"),
        ({"colour": "RED"}, "colour: not a Colour"),
        ({"colour": {}}, "colour: not a Colour"),
        ({"small": 1.0}, "small: not an integer"),
        ({"small": 13}, "bad luck"),
        ({"inner": {"name": "abc"}}, "inner: field 'height' is missing"),
        ({"inner": []}, "inner: not an object"),
        ({"inner": {"name": "\ud800", "height": 0}}, "inner: name: not a Unicode text"),
        ({"many": {}}, "many: not a list"),
        ({"either": {"flag": True}}, "either: unknown type"),
        ({"either": 7}, "either: unknown type"),
        ({"either": {"type": [], "flag": True}}, "either: unknown type"),
    ],
)
def test_bad_json_names_its_field(change, message):
    with pytest.raises(InvalidMessage, match=message):
        from_json(Outer, {**to_json(GOOD), **change})


def test_a_field_without_a_limit_is_our_own_mistake():
    @dataclass(frozen=True)
    class Endless:
        data: bytes

    with pytest.raises(TypeError, match="everything has a limit"):
        decode(Endless, b"\x81\x40")


def test_slots_over_a_class_without_them_are_refused():
    @dataclass(frozen=True, slots=True)
    class Late(Other):
        more: U8

    with pytest.raises(TypeError, match="Late has slots over"):
        encode(Late(True, 1))


def test_the_basic_types_have_the_lengths_they_should():
    @dataclass(frozen=True)
    class Basic:
        hash: Hash
        key: PublicKey
        signature: Signature
        peer: PeerId
        number: U64

    good = [bytes(32), bytes(33), bytes(64), "p", 2**64 - 1]
    assert len(fields(decode(Basic, cbor2.dumps(good)))) == 5
    for i, bad in enumerate([bytes(33), bytes(32), bytes(65), "p" * 65, 2**64]):
        with pytest.raises(InvalidMessage):
            decode(Basic, cbor2.dumps([*good[:i], bad, *good[i + 1 :]]))
    assert is_dataclass(Basic)
