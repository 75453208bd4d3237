"""Offices act, advice is decided on or left open, a credential is withdrawn and nobody named. Floor 8.

SYNTHETIC: all of it, and the names of offices and models say so.
"""

import gzip
from collections.abc import Sequence

from p2pledger.chain.payloads import Action, RecordAppend, StatusPublish, StatusPurpose
from p2pledger.chain.payloads.bodies import (
    ADMIN_ACT,
    AI_ADVICE,
    AdminAct,
    AiAdvice,
    HumanDecision,
)
from p2pledger.testnet.city.cast import HOSPITAL, REGISTRY, TRANSPORT
from p2pledger.testnet.city.stage import Stage, commitment, hash_of
from p2pledger.types import Hash

CREDENTIALS = "synthetic-badges"
TRIAGE, SIGNALS = "synthetic:triage:7", "synthetic:signals:3"
LIST_BYTES = 131_072 // 8
WITHDRAWN = 77
"""The place of a credential in its list: that is all that the ledger knows of it."""


async def play(stage: Stage) -> None:
    """The chapter."""
    await _acts(stage)
    await _advice(stage)
    await _withdraw(stage)


async def _acts(stage: Stage) -> None:
    first = await stage.say(_record(stage, ADMIN_ACT, _act("granted", None)), REGISTRY)
    later = _record(stage, ADMIN_ACT, _act("granted_with_conditions", first.transaction_id))
    second = await stage.say(later, REGISTRY)
    code = await stage.is_refused(later, HOSPITAL)
    stage.expect("an office supersedes its own acts only", code, "unknown_record")
    found = await stage.ask("records.trace-forward", record=first.transaction_id)
    stage.expect(
        "the act leads to the one that took its place",
        [each["transaction_id"] for each in found],
        [second.transaction_id.hex()],
    )


async def _advice(stage: Stage) -> None:
    """The hospital's advice is decided on by a human, the one of transport is not."""
    asked = await stage.say(_record(stage, AI_ADVICE, _advised(TRIAGE, None, None)), HOSPITAL)
    left = await stage.say(_record(stage, AI_ADVICE, _advised(SIGNALS, None, None)), TRANSPORT)
    decision = _advised(TRIAGE, HumanDecision.OVERRIDDEN, "synthetic:ward-4")
    await stage.say(_record(stage, AI_ADVICE, decision, [asked.transaction_id]), HOSPITAL)
    stage.expect(
        "advice that a human decided on is not open",
        await stage.ask("records.open-advice", organisation=HOSPITAL),
        [],
    )
    found = await stage.ask("records.open-advice", organisation=TRANSPORT)
    stage.expect(
        "advice that nobody decided on is found",
        [each["transaction_id"] for each in found],
        [left.transaction_id.hex()],
    )


async def _withdraw(stage: Stage) -> None:
    bits = bytearray(LIST_BYTES)
    bits[WITHDRAWN // 8] |= 0x80 >> WITHDRAWN % 8
    compressed = gzip.compress(bytes(bits), mtime=0)
    await stage.say(StatusPublish(CREDENTIALS, 1, StatusPurpose.REVOCATION, compressed), REGISTRY)
    found = []
    for index in (WITHDRAWN - 1, WITHDRAWN):
        (bit,) = await stage.ask(
            "registry.status-bit", organisation=REGISTRY, list_id=CREDENTIALS, index=index
        )
        found.append(bit["is_set"])
    stage.expect("one credential is withdrawn, its neighbour is not", found, [False, True])


def _record(stage: Stage, schema: str, body: object, references: Sequence[Hash] = ()) -> RecordAppend:
    return stage.fact(schema, body, action=Action.ADD, references=references)


def _act(decision: str, supersedes: Hash | None) -> AdminAct:
    return AdminAct("synthetic:permits", "building_permit", "eli:act:12", commitment(), decision, supersedes)


def _advised(model: str, decision: HumanDecision | None, office: str | None) -> AiAdvice:
    return AiAdvice(model, hash_of(model), (), commitment(), decision, office)


async def look(stage: Stage) -> None:
    """What can be seen at the day's end."""
    for organisation in (REGISTRY, HOSPITAL, TRANSPORT):
        advice = await stage.ask("records.open-advice", organisation=organisation)
        stage.sees(organisation, "advice without a human decision", len(advice))
    acts = await stage.ask("records.by-schema", schema=ADMIN_ACT)
    stage.sees(REGISTRY, "acts", sum(each["organisation"] == REGISTRY for each in acts))
