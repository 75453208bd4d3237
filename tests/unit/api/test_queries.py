"""Queries over the real API, on a chain of real blocks."""

import pytest
from p2pledger.api.cures import CURES
from p2pledger.chain.payloads import (
    CorrectionReason,
    DeviceEnroll,
    DeviceTransfer,
    KeyRevoke,
    KeyRotate,
    RecordCorrect,
    RevocationReason,
)
from p2pledger.errors import Code
from p2pledger.ledger import queries
from p2pledger.ledger.modules.queries import QUERIES
from p2pledger.types import Height, PeerId
from tests.committed import batch, fact
from tests.ledgers import START_MS, signer
from tests.unit.api.test_routes import is_error

METER, SCALE = b"meter".ljust(16), b"scale".ljust(16)
GATEWAY = PeerId("city-gateway-peer")
NOBODY = "ab" * 32


def enroll(device: bytes, name: str) -> DeviceEnroll:
    return DeviceEnroll(device, signer(name).public_key, GATEWAY, "meter", bytes(32))


async def pages(served, path: str, limit: int, **parameters):
    """All items, page by page; each page as long as it may be, and the last one says that it is."""
    found, after = [], ""
    while after is not None:
        answer = await served.http.get(path, params={**parameters, "limit": limit, "after": after})
        assert answer.status_code == 200, answer.text
        page = answer.json()
        assert page["height"] == served.ledger.chain.store.tip().height
        assert len(page["items"]) <= limit
        found += page["items"]
        after = page.get("next")
    return found


async def only(served, path: str, **parameters):
    [item] = await pages(served, path, 10, **parameters)
    return item


@pytest.fixture
def chain(served):
    return served.ledger.chain


@pytest.fixture
def records(chain):
    """Ten facts at two places, two of one moment; the ids in the order of their times, then of ids."""
    made = []
    for i in range(10):
        where = "urn:bridge" if i % 2 else "urn:harbour"
        one = fact(START_MS + i // 2, where=where)
        made.append((one.time_ms, chain.transaction(one, "city", "city 1")))
    made.append((START_MS, chain.transaction(fact(START_MS), "utility", "utility 1")))
    chain.block(*sorted((t for _, t in made), key=lambda t: t.id))
    return sorted((time_ms, t.id, t) for time_ms, t in made)


@pytest.mark.parametrize("limit", [1, 2, 3, 7, 10, 100])
async def test_pages_of_any_size_make_the_same_list(served, records, limit):
    path = "/v1/records/by-schema"
    found = await pages(served, path, limit, schema="epcis.object/1")
    assert [item["transaction_id"] for item in found] == [id_.hex() for _, id_, _ in records]
    assert found == await pages(served, path, 1_000, schema="epcis.object/1")


async def test_records_are_found_by_place_organisation_and_time(served, records):
    found = await pages(served, "/v1/records/by-place", 2, place="urn:bridge")
    bridge = [t for _, _, t in records if b"urn:bridge" in t.body.payload]
    assert [item["transaction_id"] for item in found] == [t.id.hex() for t in bridge]
    assert found[0] == {
        "transaction_id": bridge[0].id.hex(),
        "schema": "epcis.object/1",
        "organisation": "city",
        "device": None,
        "time_ms": START_MS,
        "height": 1,
        "corrected_by": None,
    }
    found = await pages(served, "/v1/records/by-organisation", 2, organisation="utility")
    assert [item["organisation"] for item in found] == ["utility"]
    for first, last in ((0, 0), (1, 3), (3, 9), (2, 2)):
        window = {"from_ms": START_MS + first, "to_ms": START_MS + last}
        found = await pages(served, "/v1/records/by-schema", 2, schema="epcis.object/1", **window)
        inside = [id_.hex() for at, id_, _ in records if first <= at - START_MS <= last]
        assert [item["transaction_id"] for item in found] == inside
    assert await pages(served, "/v1/records/by-place", 2, place="urn:bridg") == []


async def test_a_devices_records_come_by_number_with_its_gaps(served, chain):
    chain.does(enroll(METER, "meter"), "city", "city gateway", "meter")
    gaps = "/v1/records/gaps"
    shown = await only(served, gaps, device=METER.hex())
    assert shown == {"device": METER.hex(), "highest": None, "gaps": []}
    made = {first: chain.does(batch(METER, first, last), "city", "city gateway") for first, last in (
        (5, 9), (0, 2), (12, 12)
    )}  # fmt: skip
    shown = await only(served, gaps, device=METER.hex())
    assert shown["highest"] == 12
    assert shown["gaps"] == [{"first": 3, "last": 4}, {"first": 10, "last": 11}]
    path = "/v1/records/by-device"
    for limit in (1, 2, 5):
        found = await pages(served, path, limit, device=METER.hex())
        assert [(f["from_seq"], f["to_seq"]) for f in found] == [(0, 2), (5, 9), (12, 12)]
        assert [f["transaction_id"] for f in found] == [made[first].id.hex() for first in (0, 5, 12)]
    found = await pages(served, path, 1, device=METER.hex(), from_seq=1, to_seq=11)
    assert [f["from_seq"] for f in found] == [5]
    found = await pages(served, path, 1, device=METER.hex(), from_seq=5, to_seq=5)
    assert [f["from_seq"] for f in found] == [5]


@pytest.fixture
def family(chain):
    """A root, five that name it, one of which names another; and one that names two of these."""
    root = chain.does(fact(), "city", "city 1")
    children = [chain.does(fact(references=(root.id,)), "city", "city 1") for _ in range(4)]
    mixed = chain.does(fact(references=(children[0].id, root.id)), "city", "city 1")
    last = chain.does(fact(references=(mixed.id, children[1].id)), "city", "city 1")
    return root, children, mixed, last


def paths_of(edges, start, depth):
    """Every way along the edges, by another road than the walk: recursively."""
    for id_ in edges.get(start, ()):
        yield id_, start, depth
        yield from paths_of(edges, id_, depth + 1)


@pytest.mark.parametrize("limit", [1, 2, 3, 100])
async def test_a_trace_goes_every_way_in_pages_of_any_size(served, family, limit):
    root, children, mixed, last = family
    named = {child.id: [root.id] for child in children}
    named |= {mixed.id: [children[0].id, root.id], last.id: [mixed.id, children[1].id]}
    naming: dict[bytes, list[bytes]] = {}
    for id_, references in named.items():
        for reference in references:
            naming.setdefault(reference, []).append(id_)
    naming = {id_: sorted(those) for id_, those in naming.items()}
    for path, edges, start in (
        ("/v1/records/trace-forward", naming, root.id),
        ("/v1/records/trace-back", named, last.id),
    ):
        found = await pages(served, path, limit, record=start.hex())
        shown = [(item["transaction_id"], item["via"], item["depth"]) for item in found]
        expected = [(id_.hex(), via.hex(), depth) for id_, via, depth in paths_of(edges, start, 1)]
        assert len(expected) > 5
        assert shown == expected
        for depth in (1, 2):
            found = await pages(served, path, limit, record=start.hex(), depth=depth)
            shown = [(item["transaction_id"], item["via"], item["depth"]) for item in found]
            assert shown == [each for each in expected if each[2] <= depth]


async def test_what_a_dropped_body_referred_to_cannot_be_told(served, chain, family):
    root, _, _, last = family
    chain.store.prune(chain.store.tip().height, "utility")
    answer = await served.http.get(f"/v1/records/trace-back?record={last.id.hex()}")
    assert is_error(answer, 410, "pruned")
    found = await pages(served, "/v1/records/trace-forward", 100, record=root.id.hex())
    assert found and not any(item["has_body"] for item in found)


async def test_a_correction_is_found_from_what_it_corrects(served, chain):
    wrong, right = (chain.does(fact(), "city", "city 1") for _ in range(2))
    path = "/v1/records/corrections"
    assert await pages(served, path, 1, record=wrong.id.hex()) == []
    correct = RecordCorrect(wrong.id, CorrectionReason.INCORRECT_DATA, (right.id,))
    correction = chain.does(correct, "city", "city 1")
    assert await only(served, path, record=wrong.id.hex()) == {
        "record": wrong.id.hex(),
        "corrected_by": correction.id.hex(),
        "height": 3,
        "reason": "incorrect_data",
        "replacements": [right.id.hex()],
    }
    found = await pages(served, "/v1/records/by-schema", 10, schema="epcis.object/1")
    corrected = {item["transaction_id"]: item["corrected_by"] for item in found}
    assert corrected == {wrong.id.hex(): correction.id.hex(), right.id.hex(): None}
    chain.store.prune(chain.store.tip().height, "utility")
    shown = await only(served, path, record=wrong.id.hex())
    assert (shown["corrected_by"], shown["reason"], shown["replacements"]) == (
        correction.id.hex(),
        None,
        None,
    )


async def test_an_organisation_and_what_it_used_of_its_quota(served, chain):
    path = "/v1/registry/organisation"
    shown = await only(served, path, organisation="city")
    assert (shown["kind"], shown["threshold"], shown["used_transactions"]) == ("department", 1, 0)
    assert shown["admins"] == sorted(signer(f"city {i}").public_key.hex() for i in (1, 2))
    made = [chain.transaction(fact(), "city", "city 1") for _ in range(3)]
    chain.block(*made)
    shown = await only(served, path, organisation="city")
    assert shown["used_transactions"] == 3
    assert shown["used_size_bytes"] == sum(len(t.encoded) for t in made)
    assert (shown["quota_transactions"], shown["suspended_until_ms"]) == (10_000, 0)
    window_ms = chain.genesis.parameters.quota_window_ms
    time_ms = chain.store.tip().header.time_ms
    assert time_ms < shown["window_end_ms"] <= time_ms + window_ms
    while chain.time_ms < shown["window_end_ms"]:
        chain.block()
    chain.block()
    assert (await only(served, path, organisation="city"))["used_transactions"] == 0


async def test_a_device_is_found_with_the_key_that_it_has_now(served, chain):
    chain.does(enroll(METER, "meter"), "city", "city gateway", "meter")
    chain.does(enroll(SCALE, "scale"), "city", "city gateway", "scale")
    path = "/v1/registry/device"
    shown = await only(served, path, device=METER.hex())
    assert shown == {
        "device": METER.hex(),
        "organisation": "city",
        "gateway": GATEWAY,
        "kind": "meter",
        "is_retired": False,
        "key": signer("meter").public_key.hex(),
        "from_height": 2,
        "revoked_height": None,
        "heard_ms": 0,
    }
    rotate = KeyRotate(signer("meter").public_key, signer("meter 2").public_key, None, Height(0))
    chain.does(rotate, "city", "city 1", "meter 2")
    shown = await only(served, path, device=METER.hex())
    assert (shown["key"], shown["from_height"]) == (signer("meter 2").public_key.hex(), 4)
    for limit in (1, 2, 9):
        found = await pages(served, "/v1/registry/devices", limit, organisation="city")
        assert [item["device"] for item in found] == [METER.hex(), SCALE.hex()]
        assert found[0] == shown


async def test_a_device_that_was_transferred_is_listed_where_it_is(served, chain):
    from tests.unit.ledger.modules.test_registry import invite

    chain.does(enroll(METER, "meter"), "city", "city gateway", "meter")
    from p2pledger.chain.payloads import GatewayJoin

    asked = invite(chain, organisation="utility", issuer="utility 1")
    join = GatewayJoin(signer("new gateway").public_key, PeerId("new-gateway-peer"), asked)
    chain.does(join, "utility", "new gateway")
    move = DeviceTransfer(METER, PeerId("new-gateway-peer"), bytes(32))
    chain.does(move, "utility", "new gateway", "meter")
    assert await pages(served, "/v1/registry/devices", 1, organisation="city") == []
    found = await pages(served, "/v1/registry/devices", 1, organisation="utility")
    assert [(item["device"], item["gateway"]) for item in found] == [(METER.hex(), "new-gateway-peer")]
    found = await pages(served, "/v1/registry/gateways", 1)
    assert [item["peer"] for item in found] == [GATEWAY, "new-gateway-peer"]
    assert found[1] == {
        "peer": "new-gateway-peer",
        "organisation": "utility",
        "key": signer("new gateway").public_key.hex(),
        "from_height": 3,
        "revoked_height": None,
    }


async def test_whether_a_key_was_valid_at_a_height(served, chain):
    path, key = "/v1/registry/key", signer("city 2").public_key
    chain.does(KeyRevoke(key, RevocationReason.CEASED, Height(4)), "city", "city 1")
    valid = {}
    for height in (1, 2):
        valid[height] = (await only(served, path, key=key.hex(), height=height))["is_valid"]
    for _ in range(4):
        chain.block()
    for height in range(1, 7):
        shown = await only(served, path, key=key.hex(), height=height)
        valid[height] = shown["is_valid"]
        assert (shown["organisation"], shown["role"], shown["revoked_height"]) == ("city", "admin", 4)
    assert valid == {1: True, 2: True, 3: True, 4: False, 5: False, 6: False}
    assert (await only(served, path, key=key.hex()))["height"] == 6
    answer = await served.http.get(path, params={"key": key.hex(), "height": 7})
    assert is_error(answer, 404, "unknown_block")
    stranger = await only(served, path, key=signer("nobody").public_key.hex())
    assert (stranger["is_valid"], stranger["organisation"]) == (False, None)


@pytest.mark.parametrize(
    ("path", "code"),
    [
        ("/v1/registry/organisation?organisation=nobody", "unknown_organisation"),
        ("/v1/registry/devices?organisation=nobody", "unknown_organisation"),
        ("/v1/registry/silent-devices?organisation=nobody&silent_ms=1", "unknown_organisation"),
        ("/v1/registry/status-bit?organisation=city&list_id=badges&index=0", "unknown_status_list"),
        (f"/v1/registry/device?device={'ab' * 16}", "unknown_device"),
        (f"/v1/records/by-device?device={'ab' * 16}", "unknown_device"),
        (f"/v1/records/gaps?device={'ab' * 16}", "unknown_device"),
        (f"/v1/records/trace-back?record={NOBODY}", "unknown_record"),
        (f"/v1/records/trace-forward?record={NOBODY}", "unknown_record"),
        (f"/v1/records/corrections?record={NOBODY}", "unknown_record"),
    ],
)
async def test_what_is_not_there_is_said_to_be(served, path, code):
    assert is_error(await served.http.get(path), 404, code)


@pytest.mark.parametrize(
    "query",
    [
        "",
        "schema=sensor.reading",
        "schema=sensor.reading/1&limit=0",
        "schema=sensor.reading/1&limit=1001",
        "schema=sensor.reading/1&limit=ten",
        "schema=sensor.reading/1&after=abc",
        "schema=sensor.reading/1&after=AB",
        "schema=sensor.reading/1&after=" + "ab" * 513,
        "schema=sensor.reading/1&from_ms=-1",
        "schema=sensor.reading/1&to_ms=18446744073709551616",
        "schema=sensor.reading/1&from_ms=2&to_ms=1",
        "schema=sensor.reading/1&form_ms=2",
    ],
)
async def test_parameters_beyond_their_limits_are_refused(served, query):
    answer = await served.http.get(f"/v1/records/by-schema?{query}")
    assert is_error(answer, 400, "invalid_parameter")


@pytest.mark.parametrize("after", ["ab", NOBODY + "ab"])
async def test_a_cursor_of_another_query_is_refused_by_a_trace(served, family, after):
    root = family[0].id.hex()
    answer = await served.http.get(f"/v1/records/trace-forward?record={root}&after={after}")
    assert is_error(answer, 400, "invalid_parameter")


@pytest.mark.parametrize("path", ["forward", "back"])
async def test_a_cursor_that_was_made_up_does_no_harm(served, family, path):
    record = family[3 if path == "back" else 0].id.hex()
    for after in (NOBODY, NOBODY * 8, NOBODY * 16):
        answer = await served.http.get(f"/v1/records/trace-{path}?record={record}&after={after}")
        assert answer.status_code == 200


async def test_too_many_queries_at_once_are_refused(served, monkeypatch):
    monkeypatch.setattr("p2pledger.api.query_routes.QUERIES_MAX", 0)
    answer = await served.http.get("/v1/registry/gateways")
    assert is_error(answer, 503, "overloaded")
    assert answer.headers["Retry-After"] == "1"


async def test_no_answer_is_documented_that_the_framework_would_give_and_we_never_do(served):
    """It adds one of its own shape, 422, to every route with parameters that does not speak for itself."""
    shown = (await served.http.get("/openapi.json")).json()
    assert "HTTPValidationError" not in shown["components"]["schemas"]
    for path, methods in shown["paths"].items():
        for answers in (route["responses"] for route in methods.values()):
            said = {status: one for status, one in answers.items() if status == "default" or status >= "400"}
            for one in said.values():
                schema = one["content"]["application/json"]["schema"]["$ref"]
                assert schema.endswith("/HealthView" if "healthz" in path else "/ErrorView")


async def test_every_query_is_documented_for_machines(served):
    shown = (await served.http.get("/openapi.json")).json()
    for query in QUERIES.values():
        get = shown["paths"][query.path]["get"]
        assert get["description"] == query.description
        by_name = {each["name"]: each for each in get["parameters"]}
        assert list(by_name) == [*(each.name for each in query.parameters), "after", "limit"]
        assert {"400", "404", "410", "422", "503", "default"} < set(get["responses"])
        assert all(each["description"] for each in by_name.values())
        assert by_name["limit"]["schema"]["maximum"] == query.rows_max
        assert by_name["limit"]["schema"]["default"] == query.rows_default
        answer = get["responses"]["200"]["content"]["application/json"]["schema"]["$ref"]
        page = shown["components"]["schemas"][answer.rpartition("/")[2]]
        assert set(page["properties"]) == {"height", "items", "next"}
        item = shown["components"]["schemas"][page["properties"]["items"]["items"]["$ref"].rpartition("/")[2]]
        assert set(item["properties"]) == set(query.item.__dataclass_fields__)


def test_every_code_of_a_refused_query_has_a_cure():
    for code in (
        queries.INVALID_PARAMETER, queries.PRUNED, queries.UNKNOWN_BLOCK, queries.UNKNOWN_STATUS_LIST,
        Code.UNKNOWN_ORGANISATION, Code.UNKNOWN_DEVICE, Code.UNKNOWN_RECORD,
    ):  # fmt: skip
        assert code in CURES
