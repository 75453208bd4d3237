"""The ASGI applications: the API, and the exporter of metrics that stands beside it. Floor 7."""

import json
from collections.abc import Awaitable, Callable
from functools import cache
from http import HTTPStatus

import trio
from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import HTMLResponse
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware.errors import ServerErrorMiddleware
from starlette.routing import Route
from starlette.types import ASGIApp, Receive, Scope, Send

import p2pledger
from p2pledger.api.edge import Edge, refusal_response
from p2pledger.api.reference import reference_page
from p2pledger.api.refusals import Refusal
from p2pledger.api.routes import SUBMIT_PATH, Routes
from p2pledger.api.submission import JSON
from p2pledger.errors import Fatal
from p2pledger.metrics import Metrics
from p2pledger.metrics.exposition import CONTENT_TYPE
from p2pledger.node.service import Service

_HTTP_CODES = {404: "not_found", 405: "method_not_allowed"}


def make_app(
    service: Service, metrics: Metrics, closing: trio.Event, on_fatal: Callable[[Fatal], None]
) -> ASGIApp:
    """The API over one node. `closing` ends streams and waits; `on_fatal` is told when the node must stop."""
    app = FastAPI(docs_url=None, redoc_url=None, openapi_url=None)
    routes = Routes(service, metrics, closing)
    app.include_router(routes.router(is_documented=False))
    _add_reference(app, routes)
    app.add_exception_handler(Refusal, _on_refusal)
    app.add_exception_handler(RequestValidationError, _on_invalid_parameter)
    app.add_exception_handler(HTTPException, _on_http_error)
    app.add_exception_handler(Exception, _on_fault)

    def measure(route: str, method: str, status: str, seconds: float) -> None:
        metrics.api_request_seconds.at(route, method, status).observe(seconds)

    return Edge(_straight(routes.submit, app), measure, on_fatal)


def _add_reference(app: FastAPI, routes: Routes) -> None:
    """`/openapi.json` and `/docs`, made in a thread when first asked for, and then kept as they are sent."""
    making = trio.CapacityLimiter(1)

    @cache
    def document() -> tuple[bytes, str]:
        documented = FastAPI(
            title="p2pledger",
            version=p2pledger.__version__,
            description="A node of a permissioned ledger.",
        )
        documented.include_router(routes.router(is_documented=True))
        said = documented.openapi()
        return json.dumps(said, ensure_ascii=False).encode(), reference_page(said)

    async def openapi(_: Request) -> Response:
        return Response((await trio.to_thread.run_sync(document, limiter=making))[0], media_type=JSON)

    async def docs() -> Response:
        return HTMLResponse((await trio.to_thread.run_sync(document, limiter=making))[1])

    app.add_route("/openapi.json", openapi)
    app.add_api_route("/docs", docs)


def _straight(submit: Callable[[Request], Awaitable[Response]], others: ASGIApp) -> ASGIApp:
    """Takes submissions past the framework, which stands for two fifths of what such a request costs."""
    route = Route(SUBMIT_PATH, submit, methods=["POST"])

    async def answer(scope: Scope, receive: Receive, send: Send) -> None:
        try:
            response = await submit(Request(scope, receive))
        except Refusal as refusal:
            response = refusal_response(refusal)
        await response(scope, receive, send)

    submitting = ServerErrorMiddleware(answer, handler=_on_fault)

    async def dispatch(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and (scope["path"], scope["method"]) == (SUBMIT_PATH, "POST"):
            scope["route"] = route
            await submitting(scope, receive, send)
        else:
            await others(scope, receive, send)

    return dispatch


def make_exporter(metrics: Metrics) -> ASGIApp:
    """`GET /metrics` for Prometheus. In a thread, for one scrape at a time: the loop has votes to send."""
    exposition, writing = metrics.exposition(), trio.CapacityLimiter(1)
    exposition.render()  # the first time takes ten times as long, so not while there is work

    async def scrape(_: Request) -> Response:
        body = await trio.to_thread.run_sync(exposition.render, limiter=writing)
        return Response(body, headers={"Content-Type": CONTENT_TYPE})

    def unmeasured(route: str, method: str, status: str, seconds: float) -> None:
        """Scrapes are not requests to the API."""

    def raise_fatal(error: Fatal) -> None:
        raise error

    return Edge(Starlette(routes=[Route("/metrics", scrape)]), unmeasured, raise_fatal)


async def _on_refusal(_: Request, error: Exception) -> Response:
    assert isinstance(error, Refusal)
    return refusal_response(error)


async def _on_invalid_parameter(_: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)
    first = error.errors()[0]
    where = first["loc"][-1]
    return refusal_response(Refusal(HTTPStatus.BAD_REQUEST, "invalid_parameter", f"{where}: {first['msg']}"))


async def _on_http_error(_: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    status = HTTPStatus(error.status_code)
    answer = refusal_response(Refusal(status, _HTTP_CODES.get(status, "malformed"), str(error.detail)))
    answer.headers.update(error.headers or {})
    return answer


async def _on_fault(_: Request, __: Exception) -> Response:
    # The fault itself is raised on after this answer, and logged with its traceback by the server.
    return refusal_response(
        Refusal(HTTPStatus.INTERNAL_SERVER_ERROR, "internal", "the node failed to answer this request")
    )
