"""Many rows in one statement are the rows that they are one by one."""

import sqlite3
from contextlib import closing

import pytest
from p2pledger.storage import schema
from p2pledger.storage.database import PUT_ROWS_MAX, put_all


@pytest.mark.parametrize("count", [0, 1, 2, 63, PUT_ROWS_MAX, PUT_ROWS_MAX + 1, 3 * PUT_ROWS_MAX + 37])
def test_rows_that_are_put_together_are_all_there(count):
    with closing(sqlite3.connect(":memory:", isolation_level=None)) as writer:
        for table in schema.TABLES:
            writer.execute(table)
        rows = [(number, b"%d" % number) for number in range(count)]
        put_all(writer, schema.BUCKET_PUT, [(number, b"before") for number, _ in rows[::3]])
        put_all(writer, schema.BUCKET_PUT, rows)
        assert writer.execute("SELECT * FROM buckets ORDER BY number").fetchall() == rows
