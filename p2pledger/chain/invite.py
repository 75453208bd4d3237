"""The one string that lets a new gateway in. Floor 3.

An admin of an organisation signs an invite and hands it over by any private way, with the addresses of a few
nodes beside it; the gateway puts the invite into its first transaction. It is good for one gateway, on one
ledger, until it expires.

The addresses are not signed. They only say where to knock: a peer id authenticates who answers there, the
genesis hash under the signature which ledger is meant, and certificates all that the ledger says.
"""

from base64 import urlsafe_b64decode, urlsafe_b64encode
from binascii import Error as NotBase64
from dataclasses import dataclass
from typing import Annotated

from p2pledger.chain.authority import OrganisationId
from p2pledger.chain.genesis import KeyRole
from p2pledger.codec import Length, Pattern, Range, decode, encode
from p2pledger.crypto import Domain, Signed, Signer
from p2pledger.errors import InvalidMessage
from p2pledger.types import Hash, Millis, PublicKey, Signature

INVITATION_VERSION = 1
ADDRESSES_MAX = 8
ADDRESS_CHARS_MAX = 288
INVITE_TEXT_MAX = 3_584
"""The longest string: ADDRESSES_MAX of the longest addresses, in base64."""

Address = Annotated[
    str,
    Length(1, ADDRESS_CHARS_MAX),
    Pattern("/(ip4|ip6|dns|dns4|dns6)/[0-9A-Za-z.:-]{1,200}/tcp/[0-9]{1,5}/p2p/[1-9A-HJ-NP-Za-km-z]{32,64}"),
]
"""A TCP multiaddr that ends in its peer id, by its form alone: whoever dials it finds out the rest."""

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

    @property
    def signed(self) -> Signed:
        """What the issuer is said to have signed."""
        return Signed(self.terms.issuer, self.terms.sign_digest(), self.signature)


def sign_invite(terms: InviteTerms, issuer: Signer) -> Invite:
    """The invite that an admin gives. Raises ValueError when the terms name another issuer."""
    if terms.issuer != issuer.public_key:
        raise ValueError("an invite names the key that signs it")
    return Invite(terms, issuer.sign(terms.sign_digest()))


@dataclass(frozen=True)
class Invitation:
    """What a joining machine needs: its invite, and nodes to knock at, in the order to try them.

    Raises ValueError when an address stands twice.
    """

    version: Annotated[int, Range(INVITATION_VERSION, INVITATION_VERSION)]
    invite: Invite
    addresses: Annotated[tuple[Address, ...], Length(1, ADDRESSES_MAX)]

    def __post_init__(self) -> None:
        if len(set(self.addresses)) != len(self.addresses):
            raise ValueError("an address stands twice in an invitation")


def invite_text(invitation: Invitation) -> str:
    """The invitation as one string of letters, digits, `-` and `_` (RFC 4648, section 5, unpadded).

    Raises: ValueError for an address that is none.
    """
    return urlsafe_b64encode(encode(invitation)).rstrip(b"=").decode()


def parse_invite(text: str) -> Invitation:
    """The invitation behind a string. Raises: InvalidMessage for any other string."""
    if len(text) > INVITE_TEXT_MAX or not text.isascii():
        raise InvalidMessage("not an invite: too long, or not ASCII")
    try:
        data = urlsafe_b64decode(text + "=" * (-len(text) % 4))
    except (NotBase64, ValueError) as error:
        raise InvalidMessage(f"not an invite: {error}") from None
    try:
        invitation: Invitation = decode(Invitation, data)
    except InvalidMessage as error:
        raise InvalidMessage(f"not an invite, or not all of it: {error}", error.code) from None
    if invite_text(invitation) != text:
        raise InvalidMessage("not an invite as it was given", code="not_canonical")
    return invitation
