"""The one string that lets a new gateway in. Floor 3.

An admin of an organisation signs it and hands it over by any private way; the gateway puts it into its
first transaction. It is good for one gateway, on one ledger, until it expires.
"""

from base64 import urlsafe_b64decode, urlsafe_b64encode
from binascii import Error as NotBase64
from dataclasses import dataclass
from typing import Annotated

from p2pledger.chain.authority import OrganisationId
from p2pledger.chain.genesis import KeyRole
from p2pledger.codec import Length, Range, decode, encode
from p2pledger.crypto import Domain, Signer
from p2pledger.errors import InvalidMessage
from p2pledger.types import Hash, Millis, PublicKey, Signature

INVITE_TEXT_MAX = 512

_INVITE_DOMAIN = Domain("p2pledger/invite/1")


@dataclass(frozen=True)
class InviteTerms:
    """What an invite grants: the part that is signed."""

    id: Annotated[bytes, Length(16, 16)]
    """Random: what is remembered once it is used."""
    organisation: OrganisationId
    role: KeyRole
    expires_ms: Millis
    uses: Annotated[int, Range(1, 1)]
    genesis_hash: Hash
    issuer: PublicKey
    """The admin key that signed it."""

    def sign_digest(self) -> Hash:
        """The 32 bytes that the issuer signs."""
        return _INVITE_DOMAIN.hash(encode(self))


@dataclass(frozen=True)
class Invite:
    """Signed terms. Whether the signature holds and the issuer may invite, the ledger's rule says."""

    terms: InviteTerms
    signature: Signature


def sign_invite(terms: InviteTerms, issuer: Signer) -> Invite:
    """The invite that an admin gives. Raises ValueError when the terms name another issuer."""
    if terms.issuer != issuer.public_key:
        raise ValueError("an invite names the key that signs it")
    return Invite(terms, issuer.sign(terms.sign_digest()))


def invite_text(invite: Invite) -> str:
    """The invite as one string of letters, digits, `-` and `_`."""
    return urlsafe_b64encode(encode(invite)).rstrip(b"=").decode()


def parse_invite(text: str) -> Invite:
    """The invite behind a string. Raises: InvalidMessage for any other string."""
    if len(text) > INVITE_TEXT_MAX or not text.isascii():
        raise InvalidMessage("not an invite: too long, or not ASCII")
    try:
        data = urlsafe_b64decode(text + "=" * (-len(text) % 4))
    except (NotBase64, ValueError) as error:
        raise InvalidMessage(f"not an invite: {error}") from None
    invite: Invite = decode(Invite, data)
    if invite_text(invite) != text:
        raise InvalidMessage("not an invite as it was given", code="not_canonical")
    return invite
