"""Schemas and status lists against the books of their judge: what it allows is accepted, and nothing else."""

import gzip
from copy import deepcopy

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule
from p2pledger.chain.payloads import SchemaField, SchemaPublish, StatusPublish, StatusPurpose
from p2pledger.chain.schema import FieldClass, SchemaClass
from p2pledger.errors import InvalidTransaction
from p2pledger.ledger.modules.registry.schemas import published_schema
from p2pledger.ledger.modules.registry.status import status_list
from p2pledger.simulator.invariants.registry import HERD, HOUR_MS, RegistryInvariants
from tests.asking import every
from tests.ledgers import Ledger, genesis, transaction
from tests.properties.effort import effort

GENESIS = genesis()
IDS = [f"{name}/{version}" for name in ("water.quality", "air", "sensor.reading") for version in (1, 2, 3)]
LISTS = ("badges", "permits")
parties = st.sampled_from([("city", "city 1"), ("utility", "utility 1")])


class Publications(RuleBasedStateMachine):
    """Hands in what an organisation may sign, and asks the judge whether it may stand."""

    def __init__(self):
        super().__init__()
        self.ledger, self.judge = Ledger(GENESIS), RegistryInvariants(GENESIS)
        self.set: dict[tuple[str, str], set[int]] = {}
        self.schemas = {}

    def submit(self, payload, sponsor, *signers) -> bool:
        one = transaction(GENESIS, payload, sponsor, *signers, expires_ms=self.ledger.time_ms + 60_000)
        books, at = deepcopy(self.judge), self.ledger.next_round
        try:
            books.apply(one, at.height, at.time_ms)
        except ValueError as error:
            with pytest.raises(InvalidTransaction):
                self.ledger.block(one)
                raise AssertionError(f"accepted: {error}")
            return False
        self.ledger.block(one)
        self.judge = books
        return True

    @rule(schema=st.sampled_from(IDS), party=parties, field=st.sampled_from(["a", "b"]))
    def publish(self, schema, party, field):
        fields = (SchemaField(field, FieldClass.PUBLIC),)
        if self.submit(SchemaPublish(schema, SchemaClass.PUBLIC, bytes(32), fields), *party):
            self.schemas[schema] = party[0], fields

    @rule(
        list_id=st.sampled_from(LISTS),
        party=parties,
        ahead=st.sampled_from([0, 0, 0, 0, 1, -1]),
        purpose=st.sampled_from(
            [StatusPurpose.REVOCATION, StatusPurpose.REVOCATION, StatusPurpose.SUSPENSION]
        ),
        bits=st.sampled_from([HERD, HERD, HERD, HERD * 2, HERD - 8]),
        chosen=st.sets(st.integers(0, 20), max_size=4),
    )
    def issue(self, list_id, party, ahead, purpose, bits, chosen):
        before = self.judge.lists.get((party[0], list_id))
        version = max(1, (before.version if before else 0) + 1 + ahead)
        number = sum(1 << (bits - 1 - index) for index in chosen)
        compressed = gzip.compress(number.to_bytes(bits // 8, "big"), mtime=0)
        if self.submit(StatusPublish(list_id, version, purpose, compressed), *party):
            self.set[party[0], list_id] = set(chosen)

    @rule(ms=st.sampled_from([1, HOUR_MS // 2, HOUR_MS, 3 * HOUR_MS]))
    def time_passes(self, ms):
        self.ledger.time_ms += ms
        self.ledger.block()

    @invariant()
    def what_is_read_is_what_was_published(self):
        reader = self.ledger.reader
        for schema in IDS:
            row = published_schema(reader, schema)
            assert (None if row is None else (row.owner, row.fields)) == self.schemas.get(schema)
        for organisation in ("city", "utility"):
            for list_id in LISTS:
                row, chosen = (
                    status_list(reader, organisation, list_id),
                    self.set.get((organisation, list_id)),
                )
                assert (row is None) == (chosen is None)
                if row is not None:
                    asked = {"organisation": organisation, "list_id": list_id}
                    bits = [every(self.ledger, "registry.status-bit", index=i, **asked) for i in range(21)]
                    assert {found.index for [found] in bits if found.is_set} == chosen
                    assert row.missed == self.missed(organisation, list_id)

    def missed(self, organisation, list_id) -> int:
        """From the hours of all versions: those that are in between without one."""
        held = self.judge.lists[organisation, list_id]
        return held.hour - self.first_hours.setdefault((organisation, list_id), held.hour) - held.version + 1

    @property
    def first_hours(self) -> dict[tuple[str, str], int]:
        return self.__dict__.setdefault("_first_hours", {})


TestPublications = Publications.TestCase
TestPublications.settings = effort(20, steps=30)
