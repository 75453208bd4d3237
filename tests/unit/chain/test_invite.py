from contextlib import suppress
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from p2pledger.chain.invite import invite_text, parse_invite, sign_invite
from p2pledger.errors import InvalidMessage
from tests.vectors.make import INVITE, signer

TEXT = invite_text(INVITE)


def test_an_invite_is_one_string():
    assert parse_invite(TEXT) == INVITE
    assert len(TEXT) < 300 and TEXT.replace("-", "").replace("_", "").isalnum()


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
        assert parse_invite(changed) != INVITE


@pytest.mark.parametrize("text", [TEXT + "=", TEXT + "\n", " " + TEXT, TEXT[:-1], TEXT * 3])
def test_it_is_taken_as_it_was_given_only(text):
    with pytest.raises(InvalidMessage):
        parse_invite(text)


def test_terms_are_under_the_signature():
    assert replace(INVITE.terms, expires_ms=0).sign_digest() != INVITE.terms.sign_digest()
