"""How dataclasses are read, written and shown, and unions of them."""

from collections.abc import Callable, Iterable, Mapping
from functools import cached_property
from typing import Any

from p2pledger.codec.heads import ARRAY, UNSIGNED, head, head_size
from p2pledger.codec.shapes import Json, Read, Shape, Write, writer
from p2pledger.codec.source import (
    Lines,
    Names,
    Part,
    Reading,
    Refused,
    Writing,
    function,
    indented,
    refuse_if,
    total,
)
from p2pledger.codec.templates import Column, Layout, side_by_side


class Record(Shape):
    """A frozen dataclass: the array of its fields."""

    converts = True

    def __init__(self, cls: type, shapes: Mapping[str, Shape]) -> None:
        if cls.__dictoffset__ and "__slots__" in vars(cls):
            raise TypeError(f"{cls.__name__} has slots over a class that has none")
        self.cls, self.shapes, self.name = cls, shapes, cls.__name__
        self.nesting = 1 + max((shape.nesting for shape in shapes.values()), default=0)

    def reading(self, it: str, names: Names) -> Reading:
        """See `Shape.reading`: the fields in their order, then what the class itself checks."""
        variables, count = {name: names.variable(name) for name in self.shapes}, len(self.shapes)
        lines = [
            *refuse_if(
                f"type({it}) is not tuple or len({it}) != {count}",
                f"not the {count} fields of a {self.name}",
            ),
            "".join(f"{variable}, " for variable in variables.values()) + f"= {it}",
        ]
        sizes = []
        for name, shape in self.shapes.items():
            field = shape.reading(variables[name], names)
            lines += field.lines
            sizes.append(field.size)
        lines += self._making(it, variables, names)
        return Reading(lines, total(head_size(count), *sizes))

    def _making(self, it: str, variables: Mapping[str, str], names: Names) -> Lines:
        """Statements that make the variable `it` an instance of the class, whose fields these variables hold.

        The instance is filled as the `__init__` of a frozen dataclass would do it, which calls
        `object.__setattr__` for each field: most of what a small record costs.
        """
        if self.cls.__dictoffset__:
            fields = names.variable("fields")
            new, cls = names.bind(object.__new__), names.bind(self.cls)
            lines = [f"{it} = {new}({cls})", f"{fields} = {it}.__dict__"]
            lines += [f"{fields}[{name!r}] = {variable}" for name, variable in variables.items()]
        else:  # it has slots, which may be written while it is of a class that is not frozen
            lines = [f"{it} = {names.bind(_thawed(self.cls))}()"]
            lines += [f"{it}.{name} = {variable}" for name, variable in variables.items()]
            lines += [f"{it}.__class__ = {names.bind(self.cls)}"]
        check = next((name for name in ("check_fields", "__post_init__") if hasattr(self.cls, name)), None)
        if check is not None:
            lines += ["try:", f"    {it}.{check}()"]
            lines += ["except ValueError as error:", "    raise Refused(str(error)) from None"]
        return lines

    @cached_property
    def make_all(self) -> Callable[[Iterable[tuple[Any, ...]]], list[Any]]:
        """The instances of these fields, which are good by themselves. Raises: Refused."""
        names = Names()
        variables = {name: names.variable(name) for name in self.shapes}
        each = [*self._making("it", variables, names), "append(it)"]
        fields = "".join(f"{variable}, " for variable in variables.values())
        body = ["values = []", "append = values.append"]
        body += [f"for {fields} in rows:", *indented(each), "return values"]
        return function(self.name, "rows", body, names)

    def column(self, value: Any, layout: Layout) -> Column | None:
        """See `Shape.column`."""
        layout.fix(head(ARRAY, len(self.shapes)))
        values = [getattr(value, name) for name in self.shapes]
        shapes = self.shapes.values()
        columns = [shape.column(field, layout) for shape, field in zip(shapes, values, strict=True)]
        if not any(columns):
            return None
        rows, make_all = side_by_side(columns, values), self.make_all
        return lambda cells: make_all(rows(cells))

    def writing(self, it: str, names: Names, tag: int | None = None) -> Writing:
        """See `Shape.writing`. `tag`: stands before the fields, in a union."""
        lines = refuse_if(f"type({it}) is not {names.bind(self.cls)}", f"not a {self.name}")
        count = len(self.shapes)
        parts: list[Part] = [head(ARRAY, count)]
        if tag is not None:
            parts = [head(ARRAY, count + 1), head(UNSIGNED, tag)]
        for name, shape in self.shapes.items():
            variable = names.variable(name)
            field = shape.writing(variable, names)
            lines += [f"{variable} = {it}.{name}", *field.lines]
            parts += field.parts
        return Writing(lines, parts)

    def show(self, value: Any) -> Json:
        return {name: shape.show(getattr(value, name)) for name, shape in self.shapes.items()}

    def parse(self, shown: Json) -> Any:
        if not isinstance(shown, Mapping):
            raise Refused(f"not an object with the fields of a {self.name}")
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


def _thawed(cls: type) -> type:
    """The class of the same slots whose instances begin empty and take what is assigned to them."""
    plain = {name: getattr(object, name) for name in ("__init__", "__setattr__", "__delattr__")}
    return type(cls.__name__, (cls,), {"__slots__": (), **plain})


class Union(Shape):
    """One of several records: the tag of its class, then its fields."""

    converts = True

    def __init__(self, records: list[Record]) -> None:
        self.by_tag = {record.cls.TAG: record for record in records}  # type: ignore[attr-defined]
        self.by_class = {record.cls: record for record in records}
        if len(self.by_tag) != len(records):
            raise TypeError("two classes of one union share a TAG")
        self.nesting = max(record.nesting for record in records)
        self.name = " | ".join(record.name for record in records)

    def reading(self, it: str, names: Names) -> Reading:
        """See `Shape.reading`: which record it is, is seen only when it is read."""
        size = names.variable("size")
        return Reading([f"{it}, {size} = {names.bind(self.read)}({it})"], size)

    def writing(self, it: str, names: Names) -> Writing:
        """See `Shape.writing`."""
        encoding = names.variable("encoding")
        return Writing([f"{encoding} = {names.bind(self.write)}({it})"], [encoding])

    @cached_property
    def read(self) -> Read:
        """See `Shape.read`."""
        readers = {}
        for tag, record in self.by_tag.items():
            count = len(record.shapes)
            readers[tag] = record.read, head_size(tag) + head_size(count + 1) - head_size(count)

        def read(plain: Any) -> tuple[Any, int]:
            is_tagged = type(plain) is tuple and plain and type(plain[0]) is int
            if not is_tagged or plain[0] not in readers:
                raise Refused("unknown tag")
            read_fields, more = readers[plain[0]]
            value, size = read_fields(plain[1:])
            return value, size + more

        return read

    @cached_property
    def write(self) -> Write:
        """See `Shape.write`."""
        writers = {}
        for tag, record in self.by_tag.items():
            names = Names()
            writers[record.cls] = writer(record.name, record.writing("it", names, tag), names)

        def write(value: Any) -> bytes:
            if type(value) not in writers:
                raise Refused("not one of the union's classes")
            return writers[type(value)](value)

        return write

    def show(self, value: Any) -> Json:
        return {"type": type(value).__name__, **self.by_class[type(value)].show(value)}

    def parse(self, shown: Json) -> Any:
        fields = dict(shown) if isinstance(shown, Mapping) else {}
        name = fields.pop("type", None)
        for cls, record in self.by_class.items():
            if cls.__name__ == name:
                return record.parse(fields)
        raise Refused("unknown type")
