from base64 import urlsafe_b64decode, urlsafe_b64encode
from contextlib import suppress
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from p2pledger.chain.invite import (
    ADDRESS_CHARS_MAX,
    ADDRESSES_MAX,
    INVITE_TEXT_MAX,
    Invitation,
    invite_text,
    parse_invite,
    sign_invite,
)
from p2pledger.errors import InvalidMessage
from tests.vectors.make import INVITATION, INVITE, signer

TEXT = invite_text(INVITATION)


def test_an_invite_is_one_string():
    assert parse_invite(TEXT) == INVITATION
    assert len(TEXT) < 600 and TEXT.replace("-", "").replace("_", "").isalnum()


def test_it_names_who_signed_it():
    with pytest.raises(ValueError):
        sign_invite(INVITE.terms, signer("somebody else"))


@given(st.text(max_size=40))
def test_any_other_string_is_none(text):
    with pytest.raises(InvalidMessage):
        parse_invite(text)


@given(st.integers(0, len(TEXT) - 1), st.sampled_from("Aa0-_=!\n é"))
def test_a_changed_letter_is_another_invite_or_none(where, letter):
    changed = TEXT[:where] + letter + TEXT[where + 1 :]
    if changed == TEXT:
        return
    with suppress(InvalidMessage):
        assert parse_invite(changed) != INVITATION


@pytest.mark.parametrize("text", [TEXT + "=", TEXT + "\n", " " + TEXT, TEXT[:-1], TEXT * 9])
def test_it_is_taken_as_it_was_given_only(text):
    with pytest.raises(InvalidMessage, match="not an invite"):
        parse_invite(text)


def test_terms_are_under_the_signature():
    assert replace(INVITE.terms, expires_ms=0).sign_digest() != INVITE.terms.sign_digest()


PEER = "/p2p/12D3KooWD3eckifWpRn9wQpMG9R9hX3sD158z7EqHWmweQAJU5SA"
HOSTS = st.sampled_from(["ip4/192.0.2.7", "ip6/2001:db8::1", "dns/a", "dns4/b-c.example", "dns6/d.example"])
ADDRESSES = st.builds(lambda host, port: f"/{host}/tcp/{port}{PEER}", HOSTS, st.integers(0, 99_999))


@given(st.lists(ADDRESSES, min_size=1, max_size=ADDRESSES_MAX, unique=True))
def test_the_addresses_come_back_in_their_order(addresses):
    invitation = Invitation(1, INVITE, tuple(addresses))
    assert parse_invite(invite_text(invitation)) == invitation


def test_the_longest_invitation_is_not_too_long():
    most = ADDRESS_CHARS_MAX - len(f"/dns6//tcp/65535/p2p/{'1' * 64}")
    longest = tuple(f"/dns6/{str(n) * min(most, 200)}/tcp/65535/p2p/{'1' * 64}" for n in range(ADDRESSES_MAX))
    text = invite_text(Invitation(1, INVITE, longest))
    assert len(text) <= INVITE_TEXT_MAX and parse_invite(text).addresses == longest


@pytest.mark.parametrize(
    "addresses",
    [
        (),
        ("",),
        (PEER,),
        ("/ip4/192.0.2.7/tcp/7160",),
        ("/ip4/192.0.2.7/udp/7160" + PEER,),
        ("/ip4/192.0.2.7/tcp/7160/p2p/short",),
        ("/dns/a b/tcp/1" + PEER,),
        ("/dns/" + "a" * 201 + "/tcp/1" + PEER,),
        ("/dns/a/tcp/1" + PEER + "\n",),
        tuple(f"/dns/a/tcp/{n}{PEER}" for n in range(ADDRESSES_MAX + 1)),
    ],
)
def test_an_invitation_names_addresses_and_not_too_many(addresses):
    with pytest.raises((ValueError, InvalidMessage)):
        parse_invite(invite_text(Invitation(1, INVITE, addresses)))


def test_an_address_stands_once():
    with pytest.raises(ValueError):
        Invitation(1, INVITE, INVITATION.addresses[:1] * 2)


@given(st.binary(max_size=80))
def test_any_bytes_are_an_invitation_or_refused(data):
    text = urlsafe_b64encode(data).rstrip(b"=").decode()
    with pytest.raises(InvalidMessage):
        parse_invite(text)


@given(st.integers(0, len(TEXT) * 6 - 1))
def test_a_changed_bit_is_another_invitation_or_none(bit):
    data = bytearray(urlsafe_b64decode(TEXT + "=" * (-len(TEXT) % 4)))
    data[bit // 8 % len(data)] ^= 1 << bit % 8
    with suppress(InvalidMessage):
        assert parse_invite(urlsafe_b64encode(bytes(data)).rstrip(b"=").decode()) != INVITATION
