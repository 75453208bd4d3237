from dataclasses import replace

import pytest
from p2pledger.chain.authority import AuthoritySet
from p2pledger.chain.vote import (
    Ballot,
    Certificate,
    Evidence,
    Vote,
    VoteKind,
    certificate_of,
    check_certificate,
    check_evidence,
    evidence_of,
    finalise,
    is_contradiction,
    notarise,
    skip,
)
from p2pledger.crypto import is_signed
from p2pledger.errors import InvalidMessage
from p2pledger.types import ZERO_HASH
from tests.vectors.make import AUTHORITIES, GENESIS, digest, vote

BLOCK, OTHER = digest("block"), digest("other")
N, X, F = notarise(0, 5, BLOCK), skip(0, 5), finalise(0, 5, BLOCK)


def check(certificate: Certificate, authorities: AuthoritySet = AUTHORITIES) -> None:
    check_certificate(certificate, GENESIS.hash, authorities, is_signed)


def test_what_is_signed_is_the_fixed_width_string():
    from hashlib import sha256

    string = b"rota1" + bytes([1]) * 32 + bytes([2]) * 32 + b"\x03" + bytes(7) + b"\x04" + bytes(7) + b"\x05"
    ballot = finalise(4, 5, BLOCK)
    assert ballot.sign_digest(bytes([1]) * 32, bytes([2]) * 32) == sha256(string + BLOCK).digest()


def test_every_part_of_a_ballot_is_signed():
    ballots = [N, X, F, notarise(1, 5, BLOCK), notarise(0, 6, BLOCK), notarise(0, 5, OTHER)]
    digests = {ballot.sign_digest(GENESIS.hash, AUTHORITIES.hash) for ballot in ballots}
    digests |= {N.sign_digest(OTHER, AUTHORITIES.hash), N.sign_digest(GENESIS.hash, OTHER)}
    assert len(digests) == 8


def test_only_a_skip_names_no_block():
    for kind, named in (
        (VoteKind.SKIP, BLOCK),
        (VoteKind.NOTARISE, ZERO_HASH),
        (VoteKind.FINALISE, ZERO_HASH),
    ):
        with pytest.raises(ValueError):
            Ballot(kind, 0, 1, named)


@pytest.mark.parametrize("ballot", [N, X, F])
@pytest.mark.parametrize("signers", [(0, 1, 2), (3, 1, 0), (0, 1, 2, 3)])
def test_a_quorum_makes_a_certificate_in_any_order(ballot, signers):
    votes = [vote(ballot, i) for i in signers]
    certificate = certificate_of(votes, 4)
    check(certificate)
    assert certificate.votes() == tuple(sorted(votes, key=lambda one: one.signer))


def test_fewer_than_a_quorum_do_not():
    with pytest.raises(InvalidMessage, match="fewer than the quorum"):
        check(certificate_of([vote(N, 0), vote(N, 1)], 4))


def test_one_bad_signature_spoils_it():
    good = certificate_of([vote(N, i) for i in range(3)], 4)
    for spoiled in (
        replace(good, ballot=F),
        replace(good, ballot=notarise(0, 5, OTHER)),
        replace(good, signatures=good.signatures[::-1]),
        replace(good, bitmap=bytes([0b1011])),
    ):
        with pytest.raises(InvalidMessage, match="does not verify"):
            check(spoiled)
    with pytest.raises(InvalidMessage):
        check_certificate(good, OTHER, AUTHORITIES, is_signed)


def test_signers_are_of_the_list():
    good = certificate_of([vote(N, i) for i in range(4)], 4)
    for bitmap in (bytes([0b10111]), bytes([0b1111, 0])):
        with pytest.raises(InvalidMessage, match="does not have"):
            check(replace(good, bitmap=bitmap))
    with pytest.raises(ValueError):
        replace(good, bitmap=bytes([0b111]))
    with pytest.raises(InvalidMessage):
        check(good, AuthoritySet(AUTHORITIES.members[:3]))


@pytest.mark.parametrize(
    ("one", "other", "contradict"),
    [
        (N, notarise(0, 5, OTHER), True),
        (F, finalise(0, 5, OTHER), True),
        (X, F, True),
        (N, X, False),
        (N, F, False),
        (N, finalise(0, 5, OTHER), False),
        (N, N, False),
        (X, X, False),
        (N, notarise(0, 6, OTHER), False),
        (N, notarise(1, 5, OTHER), False),
        (X, finalise(0, 6, BLOCK), False),
    ],
)
def test_what_contradicts_what(one, other, contradict):
    for first, second in ((one, other), (other, one)):
        assert is_contradiction(vote(first, 1), vote(second, 1)) is contradict
        assert not is_contradiction(vote(first, 1), vote(second, 2))
    if contradict:
        evidence = evidence_of(vote(other, 1), vote(one, 1))
        assert evidence == evidence_of(vote(one, 1), vote(other, 1))
        assert evidence.offence == (0, 5, 1)
        check_evidence(evidence, GENESIS.hash, AUTHORITIES, is_signed)
        with pytest.raises(ValueError):
            Evidence(evidence.second, evidence.first)
    else:
        with pytest.raises(ValueError):
            Evidence(vote(one, 1), vote(other, 1))


def test_nobody_is_accused_with_another_ones_signature():
    forged = evidence_of(vote(X, 1), replace(vote(F, 2), signer=1))
    with pytest.raises(InvalidMessage, match="does not verify"):
        check_evidence(forged, GENESIS.hash, AUTHORITIES, is_signed)
    stranger = evidence_of(replace(vote(X, 1), signer=7), Vote(F, 7, vote(F, 2).signature))
    with pytest.raises(InvalidMessage, match="does not have"):
        check_evidence(stranger, GENESIS.hash, AUTHORITIES, is_signed)
