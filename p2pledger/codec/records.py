"""How dataclasses are read, written and shown, and unions of them."""

from collections.abc import Callable, Mapping
from functools import cached_property
from typing import Any

from p2pledger.codec.shapes import Convert, Json, Shape, head_of
from p2pledger.codec.source import Names, Refused, function, refuse_if, total


class Record(Shape):
    """A frozen dataclass: the array of its fields."""

    converts = True

    def __init__(self, cls: type, shapes: Mapping[str, Shape]) -> None:
        self.cls, self.shapes = cls, shapes
        self.nesting = 1 + max((shape.nesting for shape in shapes.values()), default=0)
        self._variables = "".join(f"{name}_, " for name in shapes)  # so that none hides a builtin

    @cached_property
    def read(self) -> Convert:
        """See `Shape.read`: the fields in their order, then what the class itself checks.

        The instance is filled as the `__init__` of a frozen dataclass would do it, which calls
        `object.__setattr__` for each field: most of what a small record costs.
        """
        names, count, refused = Names(), len(self.shapes), f"fields of a {self.cls.__name__}"
        cls, new = names.bind(self.cls), names.bind(object.__new__)
        body = [
            *refuse_if(f"type(it) is not tuple or len(it) != {count}", f"not the {count} {refused}"),
            f"{self._variables}= it",
        ]
        for name, shape in self.shapes.items():
            body += shape.reading(f"{name}_", names)
        body += [f"made = {new}({cls})", "fields = made.__dict__"]
        body += [f"fields[{name!r}] = {name}_" for name in self.shapes]
        if hasattr(self.cls, "__post_init__"):  # a class may check there what spans its fields
            body += ["try:", "    made.__post_init__()"]
            body += ["except ValueError as error:", "    raise Refused(str(error)) from None"]
        return function(self.cls.__name__, [*body, "return made"], names)

    @cached_property
    def write(self) -> Convert:
        """See `Shape.write`."""
        names = Names()
        body = refuse_if(f"type(it) is not {names.bind(self.cls)}", f"not a {self.cls.__name__}")
        for name, shape in self.shapes.items():
            body += [f"{name}_ = it.{name}", *shape.writing(f"{name}_", names)]
        return function(self.cls.__name__, [*body, f"return ({self._variables})"], names)

    @cached_property
    def size(self) -> Callable[[Any], int]:
        """See `Shape.size`."""
        names, head = Names(), head_of(len(self.shapes))
        fields = [shape.sizing(f"{name}_", names) for name, shape in self.shapes.items()]
        body = [f"{self._variables}= it", f"return {total(head, *fields)}"]
        return function(self.cls.__name__, body, names)

    def show(self, value: Any) -> Json:
        return {name: shape.show(getattr(value, name)) for name, shape in self.shapes.items()}

    def parse(self, shown: Json) -> Any:
        if not isinstance(shown, Mapping):
            raise Refused(f"not an object with the fields of a {self.cls.__name__}")
        if unknown := set(shown) - set(self.shapes):
            raise Refused(f"unknown field {min(map(str, unknown))!r}")
        fields = []
        for name, shape in self.shapes.items():
            if name not in shown:
                raise Refused(f"field {name!r} is missing")
            try:
                fields.append(shape.parse(shown[name]))
            except Refused as error:
                raise Refused(f"{name}: {error}") from None
        try:
            return self.cls(*fields)
        except ValueError as error:
            raise Refused(str(error)) from None


class Union(Shape):
    """One of several records: the tag of its class, then its fields."""

    converts = True

    def __init__(self, records: list[Record]) -> None:
        self.by_tag = {record.cls.TAG: record for record in records}  # type: ignore[attr-defined]
        self.by_class = {record.cls: record for record in records}
        if len(self.by_tag) != len(records):
            raise TypeError("two classes of one union share a TAG")
        self.nesting = max(record.nesting for record in records)

    @cached_property
    def read(self) -> Convert:
        """See `Shape.read`."""
        readers = {tag: record.read for tag, record in self.by_tag.items()}

        def read(plain: Any) -> Any:
            is_tagged = type(plain) is tuple and plain and type(plain[0]) is int
            if not is_tagged or plain[0] not in readers:
                raise Refused("unknown tag")
            return readers[plain[0]](plain[1:])

        return read

    @cached_property
    def write(self) -> Convert:
        """See `Shape.write`."""
        writers = {cls: record.write for cls, record in self.by_class.items()}

        def write(value: Any) -> Any:
            if type(value) not in writers:
                raise Refused("not one of the union's classes")
            return (value.TAG, *writers[type(value)](value))

        return write

    @cached_property
    def size(self) -> Callable[[Any], int]:
        """See `Shape.size`."""
        sizes = {tag: record.size for tag, record in self.by_tag.items()}

        def size(plain: Any) -> int:
            tag, *fields = plain
            return head_of(tag) + head_of(len(plain)) - head_of(len(fields)) + sizes[tag](fields)

        return size

    def show(self, value: Any) -> Json:
        return {"type": type(value).__name__, **self.by_class[type(value)].show(value)}

    def parse(self, shown: Json) -> Any:
        fields = dict(shown) if isinstance(shown, Mapping) else {}
        name = fields.pop("type", None)
        for cls, record in self.by_class.items():
            if cls.__name__ == name:
                return record.parse(fields)
        raise Refused("unknown type")
