"""Changes and overlays against a plain dict."""

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule
from p2pledger.codec import encode
from p2pledger.ledger.entries import entry_of
from p2pledger.ledger.modules.registry.rows import GatewayNumber
from p2pledger.ledger.overlay import Overlay
from p2pledger.ledger.state import Changes, EmptyState, Table
from tests.ledgers import Effects
from tests.properties.effort import effort

KEYS = st.integers(0, 20).map(lambda n: b"key-%d" % n)
ROWS = Table("row", GatewayNumber)
VALUES = st.one_of(st.none(), st.binary(max_size=3))


class ChangesAgainstDicts(RuleBasedStateMachine):
    """`model` is the present content; `saved` is the content at every open mark."""

    def __init__(self):
        super().__init__()
        self.reader = EmptyState()
        self.layers = []
        self.below: dict[bytes, bytes] = {}
        self.ids: set[bytes] = set()
        self.restart()

    def restart(self):
        self.changes = Changes(self.reader)
        self.model = dict(self.below)
        self.saved: list[tuple[int, dict[bytes, bytes]]] = []

    @rule(key=KEYS, value=VALUES)
    def put(self, key, value):
        self.changes.put(key, value)
        self.model.pop(key, None)
        if value is not None:
            self.model[key] = value

    @rule(key=KEYS, number=st.integers(0, 3))
    def put_row(self, key, number):
        ROWS.put(self.changes, key, GatewayNumber(number))
        self.model[ROWS.key(key)] = encode(GatewayNumber(number))

    @rule(key=KEYS, number=st.none() | st.integers(0, 3))
    def put_what_a_row_is_encoded_as(self, key, number):
        self.put(ROWS.key(key), None if number is None else encode(GatewayNumber(number)))

    @rule(keys=st.sets(KEYS))
    def read_ahead(self, keys):
        ROWS.read_ahead(self.changes, keys)

    @rule()
    def mark(self):
        self.saved.append((self.changes.mark(), dict(self.model)))

    @rule(how_far=st.integers(1, 3))
    def undo(self, how_far):
        if not self.saved:
            return
        how_far = min(how_far, len(self.saved))
        del self.saved[len(self.saved) - how_far + 1 :]
        mark, self.model = self.saved.pop()
        self.changes.undo(mark)

    @rule(
        transaction_id=st.binary(min_size=32, max_size=32),
        forgotten=st.sets(KEYS),
        is_passed_on=st.booleans(),
    )
    def stack(self, transaction_id, forgotten, is_passed_on):
        effects = Effects(self.reader, self.changes.writes(), [transaction_id])
        effects.rows = {key: row for key, row in self.changes.rows.items() if key[4:] not in forgotten}
        self.reader = Overlay(self.reader, effects)
        self.layers.append(self.reader)
        self.ids.add(transaction_id)
        self.below = dict(self.model)
        self.restart()
        if is_passed_on:
            self.changes.rows.update(self.reader.rows)

    @rule()
    def rebase_the_upper_half_on_one_layer_of_the_same_content(self):
        if len(self.layers) < 2:
            return
        content, transactions = {}, {}
        for layer in self.layers[:-1]:
            content |= layer._effects.writes
            transactions |= layer._effects.transactions
        flat = Overlay(EmptyState(), Effects(EmptyState(), content, transactions))
        self.layers[-1].rebase(flat)
        self.layers = [flat, self.layers[-1]]

    @invariant()
    def reads_what_was_written(self):
        for n in range(21):
            assert self.changes.get(b"key-%d" % n) == self.model.get(b"key-%d" % n)
            held, row = self.model.get(ROWS.key(b"key-%d" % n)), ROWS.get(self.changes, b"key-%d" % n)
            assert (None if row is None else encode(row)) == held
            assert self.changes.get(ROWS.key(b"key-%d" % n)) == held
            assert self.reader.get(b"key-%d" % n) == self.below.get(b"key-%d" % n)
        keys = [b"key-%d" % n for n in range(21)]
        assert self.reader.get_all(keys) == {key: self.below.get(key) for key in keys}

    @invariant()
    def entries_are_those_of_the_content(self):
        expected = sorted((entry_of(k, v) for k, v in self.below.items()), key=lambda entry: entry.path)
        assert list(self.reader.entries("")) == expected
        for digit in "07f":
            assert list(self.reader.entries(digit)) == [e for e in expected if e.path.hex()[0] == digit]

    @invariant()
    def ids_are_remembered(self):
        assert self.reader.used([*self.ids, bytes(33)]) == self.ids


TestChangesAgainstDicts = ChangesAgainstDicts.TestCase
TestChangesAgainstDicts.settings = effort(60)
