"""Each documented code is what the API answers: the real application over a real node and ledger.

A story brings a city to where the ledger refuses something, and what is refused is handed in over HTTP. What
no story shows fails here, and so does a code that is answered with another status than docs/api.md says, or
without the cure that docs/errors.md has.
"""

from collections import defaultdict
from dataclasses import dataclass
from http import HTTPStatus

import cbor2
import httpx
import pytest
import trio
from p2pledger.api.submission import CBOR, JSON
from p2pledger.chain.transaction import Transaction, decode_transaction
from p2pledger.codec import to_json
from p2pledger.errors import Code, InvalidMessage
from tests.unit.api import test_late_refusals
from tests.unit.api.codes import (
    consent_story,
    custody_story,
    programs_story,
    records_story,
    registry_story,
)
from tests.unit.api.codes.node_alone import City, Story, serving
from tests.unit.api.test_cures import table

STORIES = (
    *registry_story.STORIES,
    *records_story.STORIES,
    *consent_story.STORIES,
    *programs_story.STORIES,
    *custody_story.STORIES,
)
STATUSES = {
    Code.MALFORMED: HTTPStatus.BAD_REQUEST,
    Code.NOT_CANONICAL: HTTPStatus.BAD_REQUEST,
    Code.TOO_LARGE: HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
    Code.DUPLICATE: HTTPStatus.CONFLICT,
    Code.REPLAYED: HTTPStatus.CONFLICT,
    Code.TOO_MANY_PENDING: HTTPStatus.TOO_MANY_REQUESTS,
}
"""As docs/api.md has it; all others are 422."""

ELSEWHERE = {
    Code.INTENT_NOT_FINAL: test_late_refusals.test_a_report_on_an_intent_that_is_not_final,
}
"""Codes that by nature answer no submission, and the test that shows what is answered instead.

A node judges on final blocks what is handed in, and there an intent is final or unknown. A leader that has
both from peers passes the report over with this code, and takes it into its next block: nobody is told.
"""

CURES = dict(table("Codes of the ledger"))
PATH = "/v1/transactions"


@dataclass(frozen=True)
class Told:
    """What was answered to one transaction: alone as CBOR and as JSON, and as the only one of a batch."""

    story: str
    transaction: Transaction | None
    alone: httpx.Response
    as_json: httpx.Response | None
    of_many: httpx.Response

    @property
    def answers(self) -> list[httpx.Response]:
        """Those of one transaction."""
        return [self.alone] if self.as_json is None else [self.alone, self.as_json]


def opened(encoded: bytes) -> Transaction | None:
    try:
        return decode_transaction(encoded)
    except InvalidMessage:
        return None


async def hand_in(http: httpx.AsyncClient, story: str, encoded: bytes) -> Told:
    transaction, as_json = opened(encoded), None
    cbor = {"Content-Type": CBOR}
    alone = await http.post(PATH, content=encoded, headers=cbor)
    if transaction is not None:
        as_json = await http.post(PATH, json=to_json(transaction), headers={"Content-Type": JSON})
    of_many = await http.post(PATH, content=cbor2.dumps([[encoded]]), headers=cbor)
    return Told(story, transaction, alone, as_json, of_many)


@pytest.fixture(scope="module")
def told(tmp_path_factory) -> dict[Code | None, list[Told]]:
    """All stories, told: what was answered where each code was expected, or None: taken in."""
    found: dict[Code | None, list[Told]] = defaultdict(list)

    async def tell(story: Story) -> None:
        city = City(tmp_path_factory.mktemp(story.__name__))
        async with serving(city) as http:
            for code, one in story(city):
                encoded = one if isinstance(one, bytes) else one.encoded
                found[code].append(await hand_in(http, story.__name__, encoded))
        city.store.close()

    for story in STORIES:
        trio.run(tell, story)
    return found


def test_stories_show_every_code_but_those_that_answer_no_submission(told):
    shown = {answer.json().get("code") for some in told.values() for one in some for answer in one.answers}
    assert shown - {None} == {code.value for code in Code if code not in ELSEWHERE}


@pytest.mark.parametrize("code", [code for code in Code if code not in ELSEWHERE])
def test_a_code_is_answered_with_its_status_message_and_cure(told, code):
    assert told[code], "no story shows it"
    for one in told[code]:
        answer = one.alone.json()
        assert (one.alone.status_code, answer.get("code")) == (STATUSES.get(code, 422), code), one.story
        assert answer["cure"] == CURES[code]
        assert answer["message"] and not answer["message"].startswith(code)
        is_busy = one.alone.status_code == HTTPStatus.TOO_MANY_REQUESTS
        assert is_busy == ("retry_after_ms" in answer) == ("Retry-After" in one.alone.headers)
        if one.transaction is not None and not is_busy:
            assert answer["transaction_id"] == one.transaction.id.hex()
        if one.as_json is not None:
            assert (one.as_json.status_code, one.as_json.json()) == (one.alone.status_code, answer)
        assert (one.of_many.status_code, one.of_many.json()) == (one.alone.status_code, {"items": [answer]})


def test_what_is_within_its_share_is_taken_in(told):
    assert told[None]
    for one in told[None]:
        assert one.alone.status_code == HTTPStatus.ACCEPTED, one.alone.text
