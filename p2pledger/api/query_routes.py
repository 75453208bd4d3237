"""The routes of queries, made from the table of queries: `GET` of a query's path. Floor 7."""

import dataclasses
import json
import types
import typing
from collections.abc import Awaitable, Callable
from enum import Enum
from http import HTTPStatus
from inspect import Parameter as Argument
from inspect import Signature
from typing import Annotated, Any, Literal

import trio
from fastapi import APIRouter, Request, Response
from fastapi import Query as QueryField
from pydantic import BaseModel, Field, create_model

from p2pledger.api.refusals import Refusal
from p2pledger.api.submission import JSON
from p2pledger.api.views import Answers, View, errors
from p2pledger.codec import Length, Pattern, Range, to_json
from p2pledger.codec.limits import LENGTHS
from p2pledger.errors import InvalidMessage
from p2pledger.ledger.modules.queries import QUERIES
from p2pledger.ledger.queries import (
    AFTER_BYTES_MAX,
    INVALID_PARAMETER,
    PRUNED,
    TOO_MANY_ROWS,
    Answer,
    Page,
    Parameter,
    Query,
    Unanswered,
    plain_type,
)
from p2pledger.node.service import Service

QUERIES_MAX = 64
"""Queries in hand at once, those that wait for their turn too."""

RETRY_AFTER_MS = 1_000

_STATUSES = {
    INVALID_PARAMETER: HTTPStatus.BAD_REQUEST,
    PRUNED: HTTPStatus.GONE,
    TOO_MANY_ROWS: HTTPStatus.UNPROCESSABLE_ENTITY,
}
"""Of refusals that do not mean that something is not there."""

After = Annotated[
    str,
    QueryField(
        pattern=f"^([0-9a-f][0-9a-f]){{0,{AFTER_BYTES_MAX}}}$",
        description="Go on after the page whose `next` this was.",
    ),
]


class QueryRoutes:
    """The handlers, over one node."""

    def __init__(self, service: Service) -> None:
        self._service = service
        self._held = 0

    def add_to(self, router: APIRouter, *, is_documented: bool) -> None:
        """Add a route for each query, and where it is documented what that answers."""
        models = PageModels()
        for query in QUERIES.values():
            router.add_api_route(
                query.path,
                self._handler(query),
                name=query.name,
                description=query.description,
                responses=_answers(models.of(query.item)) if is_documented else None,
            )

    def _handler(self, query: Query) -> Callable[..., Awaitable[Response]]:
        known = {each.name for each in query.parameters} | {"after", "limit"}

        async def handle(request: Request, after: str, limit: int, **given: Any) -> Response:
            for name in request.query_params:
                if name not in known:
                    raise _invalid(f"{name}: {query.name} has no such parameter")
            asked = _asked(query, given)
            answered = await self._ask(query, asked, Page(bytes.fromhex(after), limit))
            body = await trio.to_thread.run_sync(_shown, answered)
            return Response(body, media_type=JSON)

        handle.__signature__ = _signature(query)  # type: ignore[attr-defined]
        return handle

    async def _ask(self, query: Query, asked: Any, page: Page) -> Answer:
        if self._held >= QUERIES_MAX:
            raise Refusal(
                HTTPStatus.SERVICE_UNAVAILABLE,
                "overloaded",
                f"{QUERIES_MAX} queries are in hand already",
                retry_after_ms=RETRY_AFTER_MS,
            )
        self._held += 1
        try:
            return await self._service.ask(query, asked, page)
        except Unanswered as nothing:
            status = _STATUSES.get(nothing.code, HTTPStatus.NOT_FOUND)
            raise Refusal(status, nothing.code, nothing.message) from None
        finally:
            self._held -= 1


def _invalid(message: str) -> Refusal:
    return Refusal(HTTPStatus.BAD_REQUEST, "invalid_parameter", message)


def _asked(query: Query, given: dict[str, Any]) -> Any:
    try:
        values = {each.name: each.checked(given[each.name]) for each in query.parameters}
        return query.asked(**values)
    except (InvalidMessage, ValueError) as error:
        raise _invalid(str(error)) from None


def _shown(answer: Answer) -> bytes:
    shown = {"height": answer.height, "items": [to_json(item) for item in answer.found.items]}
    if answer.found.next is not None:
        shown["next"] = answer.found.next.hex()
    return json.dumps(shown, ensure_ascii=False, separators=(",", ":")).encode()


# --- what is said of it in /openapi.json


def _signature(query: Query) -> Signature:
    """The parameters as the framework reads and documents them."""
    limit = Annotated[
        int, QueryField(ge=1, le=query.rows_max, description="How many rows are looked at, at most.")
    ]
    arguments = [Argument("request", Argument.KEYWORD_ONLY, annotation=Request)]
    for each in query.parameters:
        default = Argument.empty if each.is_required else each.default
        arguments.append(
            Argument(each.name, Argument.KEYWORD_ONLY, annotation=_field_of(each), default=default)
        )
    arguments += [
        Argument("after", Argument.KEYWORD_ONLY, annotation=After, default=""),
        Argument("limit", Argument.KEYWORD_ONLY, annotation=limit, default=query.rows_default),
    ]
    return Signature(arguments, return_annotation=Response)


def _field_of(parameter: Parameter) -> Any:
    limits = getattr(parameter.annotation, "__metadata__", ())
    length = next(
        (each for each in limits if isinstance(each, Length)), LENGTHS.get(_named(parameter.annotation))
    )
    said: dict[str, Any] = {"description": parameter.meaning}
    if parameter.plain is int:
        span = next((each for each in limits if isinstance(each, Range)), Range(0, 2**64 - 1))
        said |= {"ge": span.least, "le": span.most}
    elif length is not None and parameter.plain is bytes:
        count = f"{length.least}" if length.least == length.most else f"{length.least},{length.most}"
        said["pattern"] = f"^([0-9a-f][0-9a-f]){{{count}}}$"
    elif length is not None:
        said |= {"min_length": length.least, "max_length": length.most}
        if expression := next((each.expression for each in limits if isinstance(each, Pattern)), None):
            said["pattern"] = f"^({expression})$"
    plain: Any = str if parameter.plain is bytes else parameter.plain
    return Annotated[plain, QueryField(**said)]


def _named(annotation: Any) -> Any:
    return annotation.__origin__ if typing.get_origin(annotation) is Annotated else annotation


def _answers(page: type[BaseModel]) -> Answers:
    return {200: {"model": page}, **errors(400, 404, 410, 422, 503)}


class PageModels:
    """The models of pages: of each class of items one, since two of one name would be two schemas."""

    def __init__(self) -> None:
        self._models: dict[Any, Any] = {}

    def of(self, item: type[Any]) -> type[BaseModel]:
        """The model of a page of such items."""
        items: Any = list[self._model(item)]  # type: ignore[misc]
        return create_model(
            f"{item.__name__}Page",
            __base__=View,
            __doc__="Items of the chain up to `height`. `next` is the cursor to go on with; left out at the "
            "end.",
            height=(int, ...),
            items=(items, ...),
            next=(str | None, None),
        )

    def _model(self, shown: Any) -> Any:
        if shown in self._models:
            return self._models[shown]
        hints = typing.get_type_hints(shown)
        said: dict[str, Any] = {
            # a model has its own `schema`
            f"{each.name}_": (self._shape(hints[each.name]), Field(alias=each.name))
            for each in dataclasses.fields(shown)
        }
        model = create_model(shown.__name__, __base__=View, __doc__=shown.__doc__, **said)
        self._models[shown] = model
        return model

    def _shape(self, annotation: Any) -> Any:
        """What JSON holds in place of a value of the ledger."""
        kind = plain_type(annotation)
        if kind is bytes:
            return str
        if dataclasses.is_dataclass(kind):
            return self._model(kind)
        if isinstance(kind, type) and issubclass(kind, Enum):
            return Literal[tuple(member.name.lower() for member in kind)]
        if typing.get_origin(kind) is tuple:
            return list[self._shape(typing.get_args(kind)[0])]  # type: ignore[misc]
        if typing.get_origin(kind) in (typing.Union, types.UnionType):
            return typing.Union[tuple(self._shape(each) for each in typing.get_args(kind))]  # noqa: UP007
        return kind
