"""Pages of a query: of whatever size, and whatever becomes final in between, they make one list."""

from bisect import insort

from hypothesis import given
from hypothesis import strategies as st
from p2pledger.ledger.queries import Page, rows_of, walk
from tests.properties.effort import effort

KEYS = st.binary(min_size=1, max_size=4).map(lambda key: bytes(byte % 3 for byte in key))


class Index:
    """Keys in their order, as a store scans them; the only thing of a chain that pages need."""

    def __init__(self, keys):
        self.keys, self.asked = sorted(set(keys)), []

    def scan(self, index, prefix, after, limit):
        self.asked.append(limit)
        return [(key, b"") for key in self.keys if key.startswith(prefix) and key > after][:limit]


def all_pages(found_of, limit, between=lambda: None):
    """The items of all pages, and how many pages it took."""
    items, after, count = [], b"", 0
    while after is not None:
        found = found_of(Page(after, limit))
        items += found.items
        after, count = found.next, count + 1
        between()
        assert count < 1_000, "pages without end"
    return items, count


@effort(200)
@given(
    keys=st.lists(KEYS, max_size=40),
    prefix=st.binary(max_size=2).map(lambda key: bytes(byte % 3 for byte in key)),
    bounds=st.tuples(KEYS, KEYS),
    limit=st.integers(1, 45),
    late=st.lists(KEYS, max_size=10),
    is_bounded=st.booleans(),
)
def test_an_index_in_pages(keys, prefix, bounds, limit, late, is_bounded):
    after, until = (min(bounds), max(bounds)) if is_bounded else (b"", None)
    index = Index(keys)

    def found_of(page):
        return rows_of(
            index, "of", prefix, page, lambda key, _: None if key[-1:] == b"\x02" else key,
            after=after, until=until,
        )  # fmt: skip

    inside = [
        key
        for key in sorted(set(keys))
        if key.startswith(prefix) and key > after and (until is None or key < until)
    ]
    expected = [key for key in inside if key[-1:] != b"\x02"]
    items, count = all_pages(found_of, limit)
    assert items == expected
    assert count == max(1, -(-len(inside) // limit))
    assert set(index.asked) == {limit + 1}

    coming = list(late)

    def becomes_final():
        if coming and coming[-1] not in index.keys:
            insort(index.keys, coming.pop())

    items, _ = all_pages(found_of, limit, becomes_final)
    assert items == sorted(set(items)), "in order, and nothing twice"
    assert set(expected) <= set(items) <= set(expected) | set(late)


def id_of(number):
    return number.to_bytes(32, "big")


@effort(200)
@given(
    # Edges lead upwards only, as references do: a record names those that were before it.
    edges=st.sets(
        st.tuples(st.integers(0, 7), st.integers(0, 7)).map(sorted).filter(lambda e: e[0] < e[1]).map(tuple),
        max_size=16,
    ),
    limit=st.integers(1, 30),
    depth_max=st.integers(1, 5),
)
def test_a_walk_in_pages(edges, limit, depth_max):
    steps = []

    def step(id_, after, most):
        steps.append(id_)
        further = sorted(id_of(b) for a, b in edges if id_of(a) == id_ and id_of(b) > after)
        return further[:most]

    def paths(before, at):
        for b in sorted(b for a, b in edges if a == at):
            yield (*before, id_of(b))
            if len(before) + 1 < depth_max:
                yield from paths((*before, id_of(b)), b)

    expected = list(paths((), 0))
    items, count = all_pages(lambda page: walk(id_of(0), step, page, depth_max), limit)
    assert items == expected
    assert len(steps) <= len(expected) + count * (depth_max + 1)
