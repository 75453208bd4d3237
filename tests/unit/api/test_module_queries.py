"""Each module's queries over the real API: what may be left out, and what is not there."""

import pytest
from p2pledger.ledger.modules.queries import QUERIES
from tests.ledgers import signer
from tests.unit.api.test_routes import is_error

KEY = signer("nobody").public_key.hex()
OPEN = [query for query in QUERIES.values() if not any(one.is_required for one in query.parameters)]


@pytest.mark.parametrize("query", OPEN, ids=lambda query: query.name)
async def test_a_query_without_parameters_is_answered(served, query):
    answer = await served.http.get(query.path)
    assert answer.status_code == 200, answer.text
    assert answer.json()["height"] == 0
    odd = await served.http.get(query.path, params={"after": "ff" * 33})
    assert odd.status_code in (200, 400), odd.text


async def test_the_authorities_of_the_next_block(served):
    [found] = (await served.http.get("/v1/governance/authorities")).json()["items"]
    assert (found["height"], found["epoch"], found["quorum"]) == (1, 0, 3)
    assert [one["organisation"] for one in found["members"]] == [f"authority-{i}" for i in range(4)]
    answer = await served.http.get(f"/v1/governance/authorities?height={2**64 - 1}")
    assert is_error(answer, 404, "unknown_block")


@pytest.mark.parametrize(
    ("path", "code"),
    [
        (f"/v1/custody/chain?lot={'ab' * 16}", "unknown_lot"),
        (f"/v1/custody/trace-back?lot={'ab' * 16}", "unknown_lot"),
        (f"/v1/custody/trace-forward?lot={'ab' * 16}", "unknown_lot"),
        (f"/v1/programs/balance?account={KEY}", "unknown_account"),
        (f"/v1/programs/entries?account={KEY}", "unknown_account"),
        ("/v1/programs/totals?program=drive", "unknown_program"),
        ("/v1/programs/replay?program=drive&period=0", "unknown_program"),
        ("/v1/programs/rewards?program=drive&period=0", "unknown_program"),
        ("/v1/programs/audits?program=drive&period=0", "unknown_program"),
    ],
)
async def test_what_is_not_there_is_said_to_be(served, path, code):
    assert is_error(await served.http.get(path), 404, code)


@pytest.mark.parametrize(
    "path",
    [
        "/v1/custody/recycling-of-material?material=200301&month=2026-13",
        "/v1/custody/recycling-at-place?place=dwelling:1",
        "/v1/custody/mass-balance?organisation=-",
        "/v1/governance/decisions?from_height=2&to_height=1",
        "/v1/programs/rewards?program=drive&period=-1",
        "/v1/consent/accesses-of?handle=ab",
    ],
)
async def test_parameters_beyond_their_limits_are_refused(served, path):
    assert is_error(await served.http.get(path), 400, "invalid_parameter")
