"""The cache never gives what a commit has replaced."""

from p2pledger.storage.cache import Cache


def rows() -> Cache[bytes]:
    return Cache(1_000, 100)


def test_a_row_is_read_once():
    cache, reads = rows(), []

    def read(key):
        reads.append(key)
        return None if key == b"absent" else b"value"

    assert [cache.get(b"a", read), cache.get(b"a", read)] == [b"value", b"value"]
    assert [cache.get(b"absent", read), cache.get(b"absent", read)] == [None, None]
    assert reads == [b"a", b"absent"]


def test_a_commit_replaces_what_is_kept():
    cache = rows()
    cache.get(b"a", lambda key: b"old")
    cache.replace({b"a": b"new", b"b": None})
    assert cache.get(b"a", lambda key: b"never read") == b"new"
    assert cache.get(b"b", lambda key: b"never read") is None


def test_what_was_read_before_a_commit_and_returned_after_it_is_not_kept():
    cache = rows()

    def read_while_another_thread_commits(key):
        cache.replace({b"a": b"new"})
        return b"old"

    assert cache.get(b"a", read_while_another_thread_commits) == b"old"
    assert cache.get(b"a", lambda key: b"never read") == b"new"


def test_it_is_bounded_by_the_size_of_all_values():
    cache = rows()
    for i in range(10):
        cache.get(b"%d" % i, lambda key: b"")
    assert cache.get(b"0", lambda key: b"read again") == b""
    cache.get(b"one more", lambda key: b"")
    assert cache.get(b"1", lambda key: b"read again") == b"read again"
    cache.get(b"long", lambda key: bytes(901))
    assert cache.get(b"long", lambda key: b"read again") == b"read again"
    assert cache.get(b"0", lambda key: b"read again") == b"read again", "nothing else has room beside it"


def test_a_value_that_grows_counts_with_its_new_size():
    cache = Cache(5, 0)
    for key in "ab":
        cache.get(key, lambda key: b"0")
    cache.replace({"b": bytes(4)})
    cache.replace({"b": bytes(5)})
    assert cache.get("a", lambda key: b"7") == b"7"
