"""The row cache never gives what a commit has replaced."""

from p2pledger.storage.cache import ROW_BYTES_MAX, ROWS_MAX, RowCache


def test_a_row_is_read_once():
    cache, reads = RowCache(), []

    def read(key):
        reads.append(key)
        return None if key == b"absent" else b"value"

    assert [cache.get(b"a", read), cache.get(b"a", read)] == [b"value", b"value"]
    assert [cache.get(b"absent", read), cache.get(b"absent", read)] == [None, None]
    assert reads == [b"a", b"absent"]


def test_a_commit_replaces_what_is_kept():
    cache = RowCache()
    cache.get(b"a", lambda key: b"old")
    cache.replace({b"a": b"new", b"b": None})
    assert cache.get(b"a", lambda key: b"never read") == b"new"
    assert cache.get(b"b", lambda key: b"never read") is None


def test_what_was_read_before_a_commit_and_returned_after_it_is_not_kept():
    cache = RowCache()

    def read_while_another_thread_commits(key):
        cache.replace({b"a": b"new"})
        return b"old"

    assert cache.get(b"a", read_while_another_thread_commits) == b"old"
    assert cache.get(b"a", lambda key: b"never read") == b"new"


def test_it_is_bounded_in_rows_and_in_their_length():
    cache = RowCache()
    for i in range(ROWS_MAX + 1):
        cache.get(i.to_bytes(4, "big"), lambda key: b"x")
    assert cache.get((0).to_bytes(4, "big"), lambda key: b"read again") == b"read again"
    long = bytes(ROW_BYTES_MAX + 1)
    cache.get(b"long", lambda key: long)
    assert cache.get(b"long", lambda key: b"read again") == b"read again"
