"""What is proposed is as old as it takes to reach the others, as far as can be told from here."""

from p2pledger.node.age import AGE_MS_MIN, GossipAge


def test_it_grows_when_something_was_late_and_shrinks_slowly():
    age = GossipAge(100)
    assert age.ms == AGE_MS_MIN
    age.observe(is_whole=False)
    age.observe(is_whole=False)
    grown = age.ms
    assert AGE_MS_MIN < grown < 100
    for _ in range(3):
        age.observe(is_whole=True)
    assert grown - 4 <= age.ms < grown


def test_it_stays_within_its_bounds():
    age = GossipAge(100)
    for _ in range(100):
        age.observe(is_whole=False)
    assert age.ms == 100
    for _ in range(1_000):
        age.observe(is_whole=True)
    assert age.ms == AGE_MS_MIN
