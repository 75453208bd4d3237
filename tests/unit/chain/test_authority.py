import pytest
from hypothesis import given
from hypothesis import strategies as st
from p2pledger.chain.authority import Authority, AuthoritySet, faulty, from_bitmap, quorum, to_bitmap
from p2pledger.types import PeerId, PublicKey
from tests.ledgers import signer


def make(count: int) -> AuthoritySet:
    return AuthoritySet(
        tuple(Authority(f"org-{n}", signer(f"{n}").public_key, PeerId(f"peer-{n}")) for n in range(count))
    )


@pytest.mark.parametrize("n", range(1, 257))
def test_two_quorums_share_an_honest_authority_and_the_honest_make_one(n):
    f, q = faulty(n), quorum(n)
    assert 3 * f < n
    assert 2 * q - n > f
    assert n - f >= q
    assert q == n - f or 2 * (q - 1) - n <= f, "and no smaller quorum would do"


def test_six_need_four_not_three():
    """2f+1 is 3 for n = 6, and forked in 34 of 60 runs of the model (PROTOCOL, R1)."""
    assert (quorum(4), quorum(6), quorum(7)) == (3, 4, 5)


@given(st.sets(st.integers(0, 255)), st.integers(256, 256))
def test_a_bitmap_is_its_positions(signers, n):
    assert from_bitmap(to_bitmap(signers, n)) == tuple(sorted(signers))
    assert len(to_bitmap(signers, n)) == 32


def test_members_are_found_by_key_and_by_peer():
    authorities = make(5)
    for i, member in enumerate(authorities.members):
        assert authorities.index_of(member.key) == authorities.index_of(member.peer) == i
    assert authorities.index_of(PeerId("stranger")) is None


def test_leaders_rotate_and_each_has_its_turn():
    authorities = make(4)
    assert [authorities.leader(view, 3) for view in range(1, 6)] == [0, 1, 2, 3, 0]


def test_nobody_stands_twice():
    one, other = make(2).members
    twins = (
        Authority(one.organisation, other.key, other.peer),
        Authority(other.organisation, one.key, other.peer),
        Authority(other.organisation, other.key, one.peer),
        Authority(other.organisation, PublicKey(b"\x02" + b"\xff" * 32), other.peer),
    )
    for twin in twins:
        with pytest.raises(ValueError):
            AuthoritySet((one, twin))
