import json
import re
from dataclasses import replace
from pathlib import Path

import pytest
import trio
from p2pledger.api.routes import ROUTES, Routes
from p2pledger.api.views import ItemsView
from p2pledger.chain.block import FinalBlock
from p2pledger.chain.genesis import Genesis
from p2pledger.chain.receipt import Receipt, check_receipt
from p2pledger.chain.transaction import Batch
from p2pledger.codec import decode, encode, from_json, to_json
from p2pledger.consensus.causes import CURES, Cause
from p2pledger.consensus.diagnosis import Accusation, diagnose
from p2pledger.crypto import is_signed
from p2pledger.ledger.modules.queries import QUERIES
from p2pledger.metrics import Metrics
from p2pledger.types import Epoch, Height, Millis, View
from tests.sim.bench import Bench, n_, x
from tests.unit.api.small_ledger import KeySigner, SmallLedger, make_genesis, make_transaction, unhealthy

CBOR = {"Content-Type": "application/cbor"}
JSON = {"Content-Type": "application/json"}


def is_error(answer, status, code):
    """An answer in the one shape of all refusals, with nothing beside it."""
    error = answer.json()
    assert (answer.status_code, error["code"]) == (status, code), error
    assert error["message"]
    return error.keys() <= {"code", "message", "cure", "transaction_id", "retry_after_ms"}


async def test_a_transaction_in_cbor_is_accepted_under_its_id(served):
    transaction = make_transaction(served.ledger.genesis)
    answer = await served.http.post("/v1/transactions", content=transaction.encoded, headers=CBOR)
    assert answer.status_code == 202
    assert answer.json() == {"transaction_id": transaction.id.hex()}
    assert served.ledger.mempool == {transaction.id: transaction}


async def test_the_json_form_is_the_same_transaction(served):
    transaction = make_transaction(served.ledger.genesis)
    answer = await served.http.post("/v1/transactions", json=to_json(transaction))
    assert answer.status_code == 202
    assert served.ledger.submissions == [[transaction.encoded]]


@pytest.mark.parametrize("media_type", ["application/cbor", "application/json; charset=utf-8"])
async def test_many_are_answered_each_on_its_own(served, media_type):
    genesis, ledger = served.ledger.genesis, served.ledger
    ledger.codes[b"\x01"] = "over_quota"
    good, foreign = make_transaction(genesis), make_transaction(make_genesis("elsewhere"))
    refused = make_transaction(genesis, payload=b"\x01")
    sent = [good, foreign, refused]
    if "cbor" in media_type:
        body = encode(Batch(tuple(t.encoded for t in sent)))
    else:
        body = json.dumps({"transactions": [to_json(t) for t in sent]}).encode()
    answer = await served.http.post("/v1/transactions", content=body, headers={"Content-Type": media_type})
    assert answer.status_code == 202
    plainly = ItemsView.model_validate(answer.json()).model_dump(mode="json", exclude_none=True)
    assert answer.content == json.dumps(plainly, ensure_ascii=False, separators=(",", ":")).encode()
    first, second, third = answer.json()["items"]
    assert first == {"transaction_id": good.id.hex()}
    assert (second["code"], second["transaction_id"]) == ("wrong_genesis", foreign.id.hex())
    assert (third["code"], third["transaction_id"]) == ("over_quota", refused.id.hex())
    assert list(ledger.mempool) == [good.id]


async def test_one_unreadable_item_among_many_harms_no_other(served):
    good = make_transaction(served.ledger.genesis)
    shown = [{"body": 1}, to_json(good), to_json(good) | {"colour": "red"}]
    answer = await served.http.post("/v1/transactions", json={"transactions": shown})
    codes = [item.get("code") for item in answer.json()["items"]]
    assert (answer.status_code, codes) == (202, ["malformed", None, "malformed"])


async def test_many_that_are_all_refused_are_not_called_accepted(served):
    foreign = [make_transaction(make_genesis("elsewhere"), salt) for salt in range(2)]
    body = encode(Batch(tuple(t.encoded for t in foreign)))
    assert (await served.http.post("/v1/transactions", content=body, headers=CBOR)).status_code == 422
    served.ledger.busy = 2
    full = encode(Batch(tuple(make_transaction(served.ledger.genesis, s).encoded for s in range(2))))
    answer = await served.http.post("/v1/transactions", content=full, headers=CBOR)
    assert (answer.status_code, answer.headers["Retry-After"]) == (429, "1")


async def test_a_full_mempool_says_when_to_come_back(served):
    served.ledger.busy = 1
    transaction = make_transaction(served.ledger.genesis)
    answer = await served.http.post("/v1/transactions", content=transaction.encoded, headers=CBOR)
    assert is_error(answer, 429, "mempool_full")
    assert answer.headers["Retry-After"] == "1"
    assert answer.json()["transaction_id"] == transaction.id.hex()
    again = await served.http.post("/v1/transactions", content=transaction.encoded, headers=CBOR)
    assert again.status_code == 202


@pytest.mark.parametrize(
    ("damage", "status", "code"),
    [
        (lambda data: data[:-1], 400, "malformed"),
        (lambda data: b"", 400, "malformed"),
        (lambda data: data + b"\x00", 400, "not_canonical"),
        (lambda data: data[:1] + b"\x98\x08" + data[2:], 400, "not_canonical"),
        (lambda data: data + bytes(20_480), 413, "too_large"),
        (lambda data: b"\x81" + data, 400, "malformed"),
        (lambda data: data[:-1] + bytes([data[-1] ^ 1]), 422, "bad_signature"),
    ],
)
async def test_each_kind_of_bad_bytes_has_its_own_code(served, damage, status, code):
    data = damage(make_transaction(served.ledger.genesis).encoded)
    answer = await served.http.post("/v1/transactions", content=data, headers=CBOR)
    assert is_error(answer, status, code)
    assert not served.ledger.mempool


async def test_a_duplicate_is_a_conflict(served):
    transaction = make_transaction(served.ledger.genesis)
    await served.http.post("/v1/transactions", content=transaction.encoded, headers=CBOR)
    served.ledger.finalise()
    answer = await served.http.post("/v1/transactions", content=transaction.encoded, headers=CBOR)
    assert is_error(answer, 409, "duplicate")


@pytest.mark.parametrize("headers", [{"Content-Type": "text/plain"}, {}, CBOR | {"Content-Encoding": "gzip"}])
async def test_other_media_types_and_encodings_are_refused(served, headers):
    answer = await served.http.post("/v1/transactions", content=b"\x80", headers=headers)
    assert is_error(answer, 415, "unsupported_media_type")


async def test_an_outcome_is_told_from_pending_to_final(served):
    transaction = make_transaction(served.ledger.genesis)
    path = f"/v1/transactions/{transaction.id.hex()}"
    assert is_error(await served.http.get(path), 404, "unknown_transaction")
    await served.http.post("/v1/transactions", content=transaction.encoded, headers=CBOR)
    assert (await served.http.get(path)).json()["outcome"] == "pending"
    served.ledger.finalise()
    assert (await served.http.get(path)).json() == {
        "transaction_id": transaction.id.hex(),
        "outcome": "final",
        "height": 1,
        "result": {"position": 0, "output": "80"},
    }


async def test_a_late_refusal_and_an_expiry_are_told(served):
    one, other = (make_transaction(served.ledger.genesis, salt) for salt in range(2))
    await served.ledger.submit([one.encoded, other.encoded])
    served.ledger.refuse_late(one.id, "over_quota")
    served.ledger.expire(other.id)
    refused = (await served.http.get(f"/v1/transactions/{one.id.hex()}")).json()
    assert (refused["outcome"], refused["code"]) == ("refused", "over_quota")
    expired = (await served.http.get(f"/v1/transactions/{other.id.hex()}")).json()
    assert expired["outcome"] == "expired"


async def test_waiting_ends_with_the_block(served):
    transaction = make_transaction(served.ledger.genesis)
    await served.ledger.submit([transaction.encoded])
    answers = []

    async def wait():
        answers.append(await served.http.get(f"/v1/transactions/{transaction.id.hex()}?wait_ms=9000"))

    async with trio.open_nursery() as waiting:
        waiting.start_soon(wait)
        while not await served.metric('p2pledger_api_subscribers{kind="waits"}'):
            pass
        served.ledger.finalise()
    assert answers[0].json()["outcome"] == "final"
    assert await served.metric('p2pledger_api_subscribers{kind="waits"}') == 0


@pytest.mark.parametrize(
    "path",
    [
        "/v1/transactions/abc",
        "/v1/transactions/" + "A" * 64,
        f"/v1/transactions/{'a' * 64}?wait_ms=-1",
        f"/v1/transactions/{'a' * 64}?wait_ms=60001",
        f"/v1/transactions/{'a' * 64}?wait_ms=1.5",
        "/v1/blocks/0",
        "/v1/blocks/-1",
        "/v1/blocks/one",
        "/v1/blocks/" + "9" * 40,
        "/v1/events?after=-1",
    ],
)
async def test_parameters_beyond_their_limits_are_refused(served, path):
    assert is_error(await served.http.get(path), 400, "invalid_parameter")


async def test_a_receipt_holds_with_the_genesis_alone(served):
    transaction = make_transaction(served.ledger.genesis)
    path = f"/v1/transactions/{transaction.id.hex()}/receipt"
    assert is_error(await served.http.get(path), 404, "unknown_transaction")
    await served.ledger.submit([transaction.encoded])
    assert is_error(await served.http.get(path), 409, "not_final")
    served.ledger.finalise()
    by_cbor = decode(Receipt, (await served.http.get(path, headers={"Accept": "application/cbor"})).content)
    by_json = from_json(Receipt, (await served.http.get(path)).json())
    assert by_cbor == by_json
    assert check_receipt(by_cbor, make_genesis(), is_signed) == transaction


async def test_a_receipt_without_a_certificate_yet_is_asked_for_again(served):
    transaction = make_transaction(served.ledger.genesis)
    await served.ledger.submit([transaction.encoded])
    served.ledger.finalise()
    served.ledger.uncertified = True
    answer = await served.http.get(f"/v1/transactions/{transaction.id.hex()}/receipt")
    assert is_error(answer, 503, "receipt_not_ready")
    assert answer.headers["Retry-After"] == "1"


async def test_a_receipt_without_its_body_is_to_be_asked_of_an_authority(served):
    transaction = make_transaction(served.ledger.genesis)
    await served.ledger.submit([transaction.encoded])
    served.ledger.finalise()
    served.ledger.is_pruned = True
    path = f"/v1/transactions/{transaction.id.hex()}"
    answer = await served.http.get(f"{path}/receipt")
    assert is_error(answer, 410, "pruned")
    assert "Ask an authority" in answer.json()["cure"]
    assert (await served.http.get(path)).json()["outcome"] == "final"


async def test_blocks_and_genesis_come_in_both_forms(served):
    block = served.ledger.finalise()
    shown = (await served.http.get("/v1/blocks/1")).json()
    assert shown.pop("digest") == block.header.digest.hex()
    assert from_json(FinalBlock, shown) == block
    raw = await served.http.get("/v1/blocks/1", headers={"Accept": "application/cbor"})
    assert decode(FinalBlock, raw.content) == block
    assert is_error(await served.http.get("/v1/blocks/2"), 404, "unknown_block")
    genesis = await served.http.get("/v1/genesis", headers={"Accept": "application/cbor"})
    assert decode(Genesis, genesis.content) == served.ledger.genesis
    shown = (await served.http.get("/v1/genesis")).json()
    assert shown.pop("hash") == served.ledger.genesis.hash.hex()
    assert from_json(Genesis, shown) == served.ledger.genesis


async def test_only_what_can_be_answered_is_accepted(served):
    answer = await served.http.get("/v1/genesis", headers={"Accept": "text/html"})
    assert is_error(answer, 406, "not_acceptable")


async def test_the_status_names_topics_protocols_and_addresses(served):
    status = (await served.http.get("/v1/status")).json()
    assert status["genesis_hash"] == served.ledger.genesis.hash.hex()
    assert (status["topics"], status["addresses"]) == (["transactions"], ["/ip4/127.0.0.1/tcp/4001"])
    assert status["protocols"]


async def test_the_consensus_is_told_with_its_reasons_and_cures(served):
    shown = (await served.http.get("/v1/consensus")).json()
    assert (shown["is_healthy"], shown["view"], shown["quorum"], shown["n"]) == (True, 0, 3, 4)
    bench = Bench()
    bench.speak()
    header = bench.header(1)
    bench.receive(1, bench.proposal(header))
    bench.give(n_(1, header))
    bench.receive(2, bench.vote(2, x(2)))
    for _ in range(30):
        bench.tick(500)
        bench.receive(1, bench.status(view=2, final_height=5))
    served.ledger.diagnosis = diagnose(bench.s, Millis(bench.now), {"peer1"})
    shown = (await served.http.get("/v1/consensus")).json()
    assert not shown["is_healthy"]
    first = shown["reasons"][0]
    assert (first["code"], first["organisations"]) == ("no_quorum_heard", ["org2", "org3"])
    assert first["cure"] == CURES[Cause.NO_QUORUM_HEARD]
    assert shown["parent"]["digest"] == header.digest.hex()
    assert shown["parent"]["finalise"]["voters"] == ["org0"]
    [skip] = shown["votes"]
    assert (skip["kind"], skip["voters"], skip["digest"]) == ("skip", ["org0", "org2"], "0" * 64)
    assert [each["kind"] for each in shown["newest"]] == ["notarise"]
    own, other, _, fourth = shown["authorities"]
    assert own["is_self"]
    assert (other["is_connected"], other["blocks_behind"], other["heard_age_ms"]) == (True, -5, 0)
    assert "blocks_behind" not in fourth


async def test_recorded_evidence_is_told_from_an_epoch_on(served):
    served.ledger.accusations = tuple(
        Accusation(Epoch(epoch), View(7), "city", True, Height(epoch + 1)) for epoch in range(3)
    )
    shown = (await served.http.get("/v1/evidence")).json()
    assert [each["epoch"] for each in shown["offences"]] == [0, 1, 2]
    shown = (await served.http.get("/v1/evidence?from_epoch=2")).json()
    assert shown == {
        "offences": [{"epoch": 2, "view": 7, "organisation": "city", "is_recorded": True, "height": 3}]
    }
    assert is_error(await served.http.get("/v1/evidence?from_epoch=-1"), 400, "invalid_parameter")


@pytest.mark.parametrize("probe", ["live", "ready", "startup"])
async def test_probes_answer_ok_and_nothing_more(served, probe):
    answer = await served.http.get(f"/healthz/{probe}")
    assert (answer.status_code, answer.json()) == (200, {"ok": True, "reasons": [], "notices": []})


async def test_a_probe_that_fails_says_why(served):
    served.ledger.health_now = unhealthy("the loop has not moved for 9 s")
    answer = await served.http.get("/healthz/live")
    assert (answer.status_code, answer.json()["reasons"]) == (503, ["the loop has not moved for 9 s"])
    assert (await served.http.get("/healthz/startup")).status_code == 200


async def test_what_no_restart_would_mend_is_told_and_fails_no_probe(served):
    served.ledger.health_now = replace(served.ledger.health_now, notices=("its key signs elsewhere",))
    for probe in ("live", "ready", "startup"):
        answer = await served.http.get(f"/healthz/{probe}")
        assert (answer.status_code, answer.json()["notices"]) == (200, ["its key signs elsewhere"])


async def test_unknown_routes_and_methods_are_refused_in_the_same_shape(served):
    assert is_error(await served.http.get("/v2/everything"), 404, "not_found")
    answer = await served.http.get("/v1/transactions")
    assert is_error(answer, 405, "method_not_allowed")
    assert answer.headers["Allow"] == "POST"


async def test_the_reference_page_lists_every_route_and_loads_nothing_from_elsewhere(served):
    page = (await served.http.get("/docs")).text
    document = (await served.http.get("/openapi.json")).json()
    assert {"/v1/transactions", "/v1/events", "/healthz/live"} <= set(document["paths"])
    assert all(path in page for path in document["paths"])
    assert (await served.http.head("/openapi.json")).status_code == 200
    assert "http://" not in page
    assert "https://" not in page
    assert "<script" not in page


async def test_requests_are_measured_by_route_template(served):
    await served.http.get("/v1/status")
    await served.http.get(f"/v1/nowhere/{KeySigner(bytes([7] * 32)).public_key.hex()}")
    counted = 'p2pledger_api_request_seconds_count{method="GET",route="%s",status="%s"}'
    assert await served.metric(counted % ("/v1/status", "200")) == 1
    assert await served.metric(counted % ("other", "404")) == 1


def test_the_list_of_routes_for_the_metrics_is_the_table():
    routes = Routes(SmallLedger(), Metrics(version="0", chain_id="small", node="a"), trio.Event())
    router = routes.router(is_documented=False)
    assert [route.path for route in router.routes] == list(ROUTES)


def test_every_route_is_documented_and_no_other():
    text = (Path(__file__).resolve().parents[3] / "docs" / "api.md").read_text()
    table = text.partition("| --- | --- |")[2].partition("\n\n")[0]
    named = {path.replace("{id}", "{transaction_id}") for path in re.findall(r"(/[\w/{}]+)", table)}
    assert named == set(ROUTES) - {query.path for query in QUERIES.values()} | {"/v1/{module}/{query}"}


def test_every_query_is_documented_and_no_other():
    text = (Path(__file__).resolve().parents[3] / "docs" / "api.md").read_text()
    head = "| query | parameters | what it answers |\n| --- | --- | --- |\n"
    assert text.partition(head)[2].partition("\n\n")[0].splitlines() == [
        f"| `{query.name}` | {', '.join(map(shown, query.parameters))} | {query.summary} |"
        for query in QUERIES.values()
    ]


def shown(parameter):
    return f"`{parameter.name}`" if parameter.is_required else f"[`{parameter.name}`]"
