"""Each code that only a request can meet is answered by the real application over a real node and ledger."""

from collections import defaultdict
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import ExitStack
from http import HTTPStatus
from typing import Any

import cbor2
import httpx
import pytest
import trio
from p2pledger.api import edge, query_routes, routes
from p2pledger.api.submission import REQUEST_BYTES_MAX, REQUEST_TRANSACTIONS_MAX
from p2pledger.errors import Code
from p2pledger.ledger.modules.programs import queries as programs_queries
from p2pledger.node import backlog
from p2pledger.node.config import MempoolSection
from p2pledger.node.node import Node
from p2pledger.types import Height
from tests.programs import create
from tests.unit.api.codes.node_alone import City, lowered, serving
from tests.unit.api.test_cures import table
from tests.unit.ledger.modules.test_records import ACT
from tests.unit.ledger.modules.test_status import version

API, LEDGER = dict(table("Codes of the API")), dict(table("Codes of the ledger"))
STATUSES = {
    "body_too_large": 413,
    "too_many_transactions": 413,
    "body_too_slow": 408,
    "unsupported_media_type": 415,
    "not_acceptable": 406,
    "invalid_parameter": 400,
    "method_not_allowed": 405,
    "not_final": 409,
    "pruned": 410,
    "too_many_rows": 422,
    "receipt_not_ready": 503,
    "mempool_full": 429,
    "too_busy": 429,
    "overloaded": 503,
    "too_many_subscribers": 503,
    "internal": 500,
}
"""As docs/api.md has it; all others, of the ledger's too, say that something is not there: 404."""

NOT_NOW = {HTTPStatus.TOO_MANY_REQUESTS, HTTPStatus.SERVICE_UNAVAILABLE}
SUBMIT, CBOR = "/v1/transactions", {"Content-Type": "application/cbor"}
UNKNOWN, DEVICE = "ab" * 32, "cd" * 16
ABSENT = (
    ("not_found", "/v1/everything"),
    ("not_found", "/v1/records/everything"),
    ("unknown_transaction", f"/v1/transactions/{UNKNOWN}"),
    ("unknown_transaction", f"/v1/transactions/{UNKNOWN}/receipt"),
    ("unknown_block", "/v1/blocks/999"),
    ("unknown_block", "/v1/governance/authorities?height=999"),
    ("unknown_organisation", "/v1/registry/organisation?organisation=nobody"),
    ("unknown_organisation", "/v1/registry/devices?organisation=nobody"),
    ("unknown_status_list", "/v1/registry/status-bit?organisation=city&list_id=none&index=0"),
    ("invalid_parameter", "/v1/blocks/0"),
    ("invalid_parameter", "/v1/registry/schemas?colour=red"),
    (Code.UNKNOWN_DEVICE, f"/v1/registry/device?device={DEVICE}"),
    (Code.UNKNOWN_DEVICE, f"/v1/records/gaps?device={DEVICE}"),
    (Code.UNKNOWN_RECORD, f"/v1/records/corrections?record={UNKNOWN}"),
    (Code.UNKNOWN_LOT, f"/v1/custody/chain?lot={DEVICE}"),
    (Code.UNKNOWN_PROGRAM, "/v1/programs/totals?program=none"),
    (Code.UNKNOWN_ACCOUNT, f"/v1/programs/balance?account=02{UNKNOWN}"),
)
"""What a path asks for in vain."""

Said = list[tuple[str, httpx.Response]]
Scene = Callable[[httpx.AsyncClient, City], Awaitable[Said]]


async def absent(http: httpx.AsyncClient, city: City) -> Said:
    return [(code, await http.get(path)) for code, path in ABSENT]


async def unfit(http: httpx.AsyncClient, city: City) -> Said:
    """Requests that no node could take."""

    async def slow() -> AsyncIterator[bytes]:
        yield b"\x81"
        await trio.sleep_forever()

    many = cbor2.dumps([[b"x"] * (REQUEST_TRANSACTIONS_MAX + 1)])
    with lowered(edge, "BODY_MS_MAX", 1):
        too_slow = await http.post(SUBMIT, content=slow(), headers=CBOR)
    return [
        ("body_too_slow", too_slow),
        ("body_too_large", await http.post(SUBMIT, content=bytes(REQUEST_BYTES_MAX + 1), headers=CBOR)),
        ("too_many_transactions", await http.post(SUBMIT, content=many, headers=CBOR)),
        ("unsupported_media_type", await http.post(SUBMIT, content=b"\x80")),
        ("not_acceptable", await http.get("/v1/genesis", headers={"Accept": "text/html"})),
        ("method_not_allowed", await http.get(SUBMIT)),
    ]


async def receipts(http: httpx.AsyncClient, city: City) -> Said:
    """Of a transaction that waits, of one whose block has no certificate of its own, of one dropped."""
    waiting = city.one(ACT, "city", "city 1")
    assert (await http.post(SUBMIT, content=waiting.encoded, headers=CBOR)).status_code == 202

    async def receipt(of: Any) -> httpx.Response:
        return await http.get(f"/v1/transactions/{of.id.hex()}/receipt")

    listed = city.does(version(1), "city", "city 1")
    city.goes_to(4)
    uncertified = city.does(ACT, "city", "city 1")
    said = [("not_final", await receipt(waiting)), ("receipt_not_ready", await receipt(uncertified))]
    city.block()
    assert (await receipt(uncertified)).status_code == 200
    city.store.prune(Height(city.height), "utility")
    bit = "/v1/registry/status-bit?organisation=city&list_id=badges&index=0"
    return [*said, ("pruned", await receipt(listed)), ("pruned", await http.get(bit))]


async def vast(http: httpx.AsyncClient, city: City) -> Said:
    """What is asked for is about more than a node adds up."""
    city.enacts(create())
    city.week(3)
    city.block()
    with lowered(programs_queries, "TOTALS_PERIODS_MAX", 1):
        return [("too_many_rows", await http.get("/v1/programs/totals?program=drive"))]


async def crowded(http: httpx.AsyncClient, city: City) -> Said:
    """A node that has as much in hand as it takes."""
    for sponsor in ("city", "utility"):
        for _ in range(8):
            one = city.one(ACT, sponsor, f"{sponsor} 1").encoded
            assert (await http.post(SUBMIT, content=one, headers=CBOR)).status_code == 202
    one = city.one(ACT, "authority-0", "admin 0").encoded
    said = [("mempool_full", await http.post(SUBMIT, content=one, headers=CBOR))]
    with lowered(backlog, "WAITING_MIN", 16), lowered(backlog, "WAITING_START", 16):
        said.append(("too_busy", await http.post(SUBMIT, content=one, headers=CBOR)))
    with lowered(query_routes, "QUERIES_MAX", 0):
        said.append(("overloaded", await http.get("/v1/registry/schemas")))
    with lowered(routes, "WAITS_MAX", 0):
        said.append(("overloaded", await http.get(f"/v1/transactions/{UNKNOWN}?wait_ms=1")))
    with lowered(edge, "BUFFERED_BYTES_MAX", 0):
        said.append(("overloaded", await http.post(SUBMIT, content=one, headers=CBOR)))
    with lowered(routes, "SUBSCRIBERS_MAX", 0):
        said.append(("too_many_subscribers", await http.get("/v1/events")))
    return said


async def broken(http: httpx.AsyncClient, city: City) -> Said:
    """A fault of the node's own, met by a submission and by another request."""

    def fault(*_: object) -> None:
        raise ZeroDivisionError

    with ExitStack() as stack:
        patch = stack.enter_context(pytest.MonkeyPatch.context())
        patch.setattr(Node, "status", fault)
        patch.setattr(Node, "submit", fault)
        submitted = await http.post(SUBMIT, content=b"\x80", headers=CBOR)
        return [("internal", submitted), ("internal", await http.get("/v1/status"))]


@pytest.fixture(scope="module")
def said(tmp_path_factory) -> dict[str, list[httpx.Response]]:
    """What was answered, by the code that was expected."""
    found: dict[str, list[httpx.Response]] = defaultdict(list)

    async def play(scene: Scene) -> None:
        city = City(tmp_path_factory.mktemp(scene.__name__))
        async with serving(city, MempoolSection(transactions_max=16)) as http:
            for code, answer in await scene(http, city):
                found[code].append(answer)
        city.store.close()

    for scene in (absent, unfit, receipts, vast, crowded, broken):
        trio.run(play, scene)
    return found


@pytest.mark.parametrize("code", dict.fromkeys([*API, *(code for code, _ in ABSENT)]))
def test_a_code_is_answered_with_its_status_message_and_cure(said, code):
    assert said[code], "nothing shows it"
    for answer in said[code]:
        shown = answer.json()
        assert (answer.status_code, shown["code"]) == (STATUSES.get(code, 404), code)
        assert shown["cure"] == (API.get(code) or LEDGER[code])
        assert shown["message"] and shown["message"] != code
        is_not_now = answer.status_code in NOT_NOW
        assert is_not_now == ("Retry-After" in answer.headers) == ("retry_after_ms" in shown)


def test_only_documented_codes_were_answered(said):
    assert {answer.json()["code"] for some in said.values() for answer in some} <= API.keys() | LEDGER.keys()
