"""Whatever number stands in a path, a query, a header or a body: an answer with a reason, never a fault."""

import json

import pytest
from p2pledger.api.routes import ROUTES
from p2pledger.ledger.modules.queries import QUERIES

NUMBERS = [-(2**63), -1, 0, 1, 2**31, 2**32, 2**53 + 1, 2**63 - 1, 2**63, 2**64 - 1, 2**64, 10**20, 10**5000]
NAMES = ["1e3", "1.0", "0x10", "1_0", "+1", " 1", "٣", "nan", "%00"]
WRITTEN = [*map(str, NUMBERS[:-1]), "1" + "0" * 5000, *NAMES]


def numbers(query):
    return [parameter.name for parameter in query.parameters if parameter.plain is int]


PATHS = (
    "/v1/blocks/{}",
    "/v1/transactions/{}",
    "/v1/transactions/{}/receipt",
    "/v1/evidence?from_epoch={}",
    f"/v1/transactions/{'00' * 32}?wait_ms={{}}",
    "/v1/events?after={}",
    *(
        f"{query.path}?{name}={{}}"
        for query in QUERIES.values()
        for name in ("limit", "after", *numbers(query))
    ),
)
UNNUMBERED = {"/v1/genesis", "/v1/status", "/v1/consensus"}


def stem(path: str) -> str:
    return path.partition("?")[0].partition("{")[0].partition("0000")[0]


def test_every_route_is_tried():
    assert {stem(route) for route in ROUTES if not route.startswith("/healthz")} - UNNUMBERED <= {
        *map(stem, PATHS),
        "/v1/transactions",
    }


@pytest.mark.parametrize("path", PATHS)
async def test_paths_and_queries(served, path):
    for written in WRITTEN:
        async with served.http.stream("GET", path.format(written)) as answer:
            assert answer.status_code in (200, 400, 404, 409, 414), (written[:30], answer.status_code)
            if answer.status_code != 200:
                await answer.aread()


async def test_the_last_event_that_came(served):
    for number in NUMBERS[:-1]:
        headers = {"Last-Event-ID": str(number)}
        async with served.http.stream("GET", "/v1/events", headers=headers) as answer:
            assert answer.status_code in (200, 400), number


@pytest.mark.parametrize("field", ["version", "expires_ms", "salt", "signers", "sponsor"])
async def test_bodies(served, field):
    for number in NUMBERS[:-1]:
        body = json.dumps({"body": {field: number}, "signatures": [number]})
        answer = await served.http.post(
            "/v1/transactions", content=body, headers={"content-type": "application/json"}
        )
        assert answer.status_code == 400, (number, answer.text)
    huge = '{"body": {"' + field + '": 1' + "0" * 5000 + "}}"
    answer = await served.http.post(
        "/v1/transactions", content=huge, headers={"content-type": "application/json"}
    )
    assert answer.status_code == 400
