"""Schemas that organisations publish: whose a name is, and that nothing of it changes."""

from dataclasses import replace

import pytest
from p2pledger.chain.payloads import SchemaField, SchemaPublish
from p2pledger.chain.schema import SCHEMAS, FieldClass, SchemaClass
from p2pledger.codec import decode
from p2pledger.ledger.modules.registry.schemas import SCHEMAS_INDEX, PublishedSchema, published_schema
from tests.ledgers import Ledger

FIELDS = (SchemaField("name", FieldClass.FORBIDDEN), SchemaField("turbidity_mntu", FieldClass.PUBLIC))
QUALITY = SchemaPublish("water.quality/1", SchemaClass.PUBLIC, bytes(32), FIELDS)


@pytest.fixture
def ledger() -> Ledger:
    return Ledger()


def test_a_schema_is_its_publishers_and_never_changes(ledger):
    ledger.does(QUALITY, "city", "city 1")
    row = PublishedSchema("city", SchemaClass.PUBLIC, bytes(32), FIELDS)
    assert published_schema(ledger.reader, "water.quality/1") == row
    listed = [
        (one.key, decode(PublishedSchema, one.value)) for one in ledger.rows if one.name == SCHEMAS_INDEX
    ]
    assert listed == [(b"water.quality/1", row)]
    for sponsor in ("city", "utility"):
        again = replace(QUALITY, fields=FIELDS[:1])
        assert ledger.refuses(again, sponsor, f"{sponsor} 1") == "schema_taken"


def test_versions_follow_one_by_one_from_one_publisher(ledger):
    second, third = (replace(QUALITY, id=f"water.quality/{n}") for n in (2, 3))
    assert ledger.refuses(second, "city", "city 1") == "unknown_schema"
    ledger.does(QUALITY, "city", "city 1")
    assert ledger.refuses(third, "city", "city 1") == "unknown_schema"
    assert ledger.refuses(second, "utility", "utility 1") == "schema_taken"
    ledger.does(second, "city", "city 1")
    ledger.does(third, "city", "city 1")


def test_the_names_of_shipped_schemas_are_nobodys(ledger):
    for name in [*SCHEMAS, "sensor.reading/2", "ai.other/1", "admin/1"]:
        assert ledger.refuses(replace(QUALITY, id=name), "city", "city 1") == "schema_taken"
    ledger.does(replace(QUALITY, id="sensors.reading/1"), "city", "city 1")


def test_an_organisation_publishes_and_no_machine(ledger):
    assert ledger.refuses(QUALITY, "city", "city gateway") == "not_entitled"


def test_fields_are_few_and_stand_in_one_order():
    for fields in (FIELDS[::-1], FIELDS[:1] * 2):
        with pytest.raises(ValueError):
            replace(QUALITY, fields=fields)
