"""An answer is of one height: what was found in the midst of a block is not told, whatever it was."""

from types import SimpleNamespace

import pytest
from p2pledger.errors import Fatal
from p2pledger.ledger.queries import Found, Page, Query, Unanswered
from p2pledger.node.queries import answer
from p2pledger.types import Height
from tests.ledgers import genesis

TORN, GONE = Fatal("an index names what is not in the state"), Unanswered("unknown_lot", "not there")


class TornStore:
    """A store into which a block comes while it is read for the first time."""

    def tip(self):
        return SimpleNamespace(height=Height(7), header=None)

    def together(self, read):
        read()
        return read()


def query(*answers) -> Query:
    """A query that answers with these in turn."""
    left = list(answers)

    def ask(reader, asked, page):
        found = left.pop(0)
        if isinstance(found, Exception):
            raise found
        return found

    return Query("custody.chain", object, object, ask)


@pytest.mark.parametrize("torn", [TORN, GONE, Found(("old",))])
def test_what_was_half_read_is_read_again(torn):
    found = answer(TornStore(), genesis(), query(torn, Found(("whole",))), None, Page())
    assert (found.height, found.found.items) == (7, ("whole",))


@pytest.mark.parametrize("trouble", [TORN, GONE])
def test_what_is_still_so_when_nothing_changes_is_told(trouble):
    with pytest.raises(type(trouble)) as raised:
        answer(TornStore(), genesis(), query(Found(("old",)), trouble), None, Page())
    assert raised.value is trouble
