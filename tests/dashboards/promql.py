"""What an expression asks for: its selectors with their labels, and what can be asked of it by itself."""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

import promql_parser as promql

COMPARISONS = {"==", "!=", "<", "<=", ">", ">="}
SETS = {"and", "or", "unless"}
GREATEST = {"max", "min", "topk"}


@dataclass(frozen=True)
class Selector:
    """One selector. `above` are the aggregations that it stands in, the innermost first."""

    series: str
    labels: Mapping[str, str] = field(default_factory=dict)
    above: tuple[str, ...] = ()


class NotExpanded(Exception):
    """A variable is left in an expression."""


def expand(expr: str, values: Mapping[str, str]) -> str:
    """An expression with its variables' values in it. Raises: NotExpanded."""

    def value(found: re.Match[str]) -> str:
        name = found[1] or found[2]
        if name not in values:
            raise NotExpanded(f"${name} in {expr}")
        return values[name]

    expanded = re.sub(r"\$(?:\{(\w+)(?::\w+)?\}|(\w+))", value, expr)
    if "$" in expanded or "[[" in expanded:
        raise NotExpanded(expanded)
    return expanded


def selectors(expr: str) -> list[Selector]:
    """All selectors of an expression. Raises: ValueError when it cannot be parsed."""
    return list(_selectors(promql.parse(expr), ()))


def grouped_by(expr: str) -> list[tuple[set[str], list[Selector]]]:
    """The labels that each aggregation and each matching of two sides names, and what stands below."""
    return [(labels, list(_selectors(node, ()))) for node, labels in _groupings(promql.parse(expr))]


def askable(expr: str) -> list[str]:
    """What a rule compares: each side of its comparisons. An alert is silent, and its sides are not."""
    return list(dict.fromkeys(_askable(promql.parse(expr))))


def _children(node: promql.Expr) -> list[promql.Expr]:
    match node:
        case promql.BinaryExpr():
            return [node.lhs, node.rhs]
        case promql.AggregateExpr():
            return [node.expr]
        case promql.Call():
            return list(node.args)
        case promql.ParenExpr() | promql.UnaryExpr() | promql.SubqueryExpr():
            return [node.expr]
        case promql.MatrixSelector():
            return [node.vector_selector]
        case promql.VectorSelector() | promql.NumberLiteral() | promql.StringLiteral():
            return []
    raise AssertionError(f"{type(node).__name__} is new here")


def _selectors(node: promql.Expr, above: tuple[str, ...]) -> Iterator[Selector]:
    if isinstance(node, promql.VectorSelector):
        matchers = {matcher.name: matcher.value for matcher in node.matchers.matchers}
        yield Selector(str(node.name), matchers, above)
    if isinstance(node, promql.AggregateExpr):
        above = (str(node.op), *above)
    for child in _children(node):
        yield from _selectors(child, above)


def _groupings(node: promql.Expr) -> Iterator[tuple[promql.Expr, set[str]]]:
    if isinstance(node, promql.AggregateExpr) and node.modifier is not None:
        yield node, set(node.modifier.labels)
    if (
        isinstance(node, promql.BinaryExpr)
        and node.modifier is not None
        and node.modifier.matching is not None
    ):
        yield node, set(node.modifier.matching.labels)
    for child in _children(node):
        yield from _groupings(child)


def _askable(node: promql.Expr) -> Iterator[str]:
    if isinstance(node, promql.ParenExpr):
        yield from _askable(node.expr)
    elif isinstance(node, promql.BinaryExpr) and str(node.op) in COMPARISONS | SETS:
        yield from _askable(node.lhs)
        yield from _askable(node.rhs)
    elif any(True for _ in _selectors(node, ())):
        yield node.prettify()
