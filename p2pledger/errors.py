"""Whose fault it is. Floor 0.

Three kinds, because three different things follow: a peer that sends rubbish is scored and cut off,
a user that asks for the impossible is told why and how to mend it, and our own corruption stops us.
"""

from enum import StrEnum


class Code(StrEnum):
    """Every code that a refusal can carry: stable, and closed so that metrics' labels are bounded.

    Cause and cure of each: docs/errors.md.
    """

    # The envelope: what is wrong before any module looks.
    MALFORMED = "malformed"
    NOT_CANONICAL = "not_canonical"
    TOO_LARGE = "too_large"
    WRONG_GENESIS = "wrong_genesis"
    UNKNOWN_KIND = "unknown_kind"
    BAD_SIGNATURE = "bad_signature"
    EXPIRED = "expired"
    EXPIRES_TOO_LATE = "expires_too_late"
    REPLAYED = "replayed"
    UNKNOWN_SPONSOR = "unknown_sponsor"
    SPONSOR_SUSPENDED = "sponsor_suspended"
    NOT_ENTITLED = "not_entitled"
    OVER_QUOTA = "over_quota"
    TOO_MANY_PENDING = "too_many_pending"
    # registry
    MISSING_SIGNATURE = "missing_signature"
    TOO_FEW_ADMINS = "too_few_admins"
    ADMINS_LOCKED_OUT = "admins_locked_out"
    TOO_MANY_ADMINS = "too_many_admins"
    BACKDATED = "backdated"
    UNKNOWN_KEY = "unknown_key"
    INVALID_KEY = "invalid_key"
    KEY_TAKEN = "key_taken"
    KEY_REVOKED = "key_revoked"
    INVITE_INVALID = "invite_invalid"
    INVITE_EXPIRED = "invite_expired"
    INVITE_USED = "invite_used"
    PEER_TAKEN = "peer_taken"
    TOO_MANY_GATEWAYS = "too_many_gateways"
    UNKNOWN_GATEWAY = "unknown_gateway"
    UNKNOWN_DEVICE = "unknown_device"
    DEVICE_TAKEN = "device_taken"
    DEVICE_RETIRED = "device_retired"
    # records
    UNKNOWN_SCHEMA = "unknown_schema"
    DUPLICATE = "duplicate"
    TOO_MANY_GAPS = "too_many_gaps"
    IN_FUTURE = "in_future"
    PERSONAL_IN_CLEAR = "personal_in_clear"
    NOT_A_DAY = "not_a_day"
    UNKNOWN_RECORD = "unknown_record"
    ALREADY_CORRECTED = "already_corrected"
    # governance
    NOT_AN_AUTHORITY = "not_an_authority"
    IS_AUTHORITY = "is_authority"
    UNKNOWN_ORGANISATION = "unknown_organisation"
    TOO_MANY_CANDIDATES = "too_many_candidates"
    NOT_RECENT = "not_recent"
    PROOF_INVALID = "proof_invalid"
    UNKNOWN_MEASURE = "unknown_measure"
    UNKNOWN_PROPOSAL = "unknown_proposal"
    TOO_MANY_PROPOSALS = "too_many_proposals"
    VOTE_CLOSED = "vote_closed"
    ALREADY_VOTED = "already_voted"
    OUT_OF_RANGE = "out_of_range"
    NOT_LATER = "not_later"
    # schemas
    SCHEMA_TAKEN = "schema_taken"
    UNDECLARED_FIELD = "undeclared_field"
    FORBIDDEN_FIELD = "forbidden_field"
    FIELD_IN_CLEAR = "field_in_clear"
    # organisations
    ORGANISATION_TAKEN = "organisation_taken"
    TOO_MANY_ORGANISATIONS = "too_many_organisations"
    TOO_MANY_CHANGES = "too_many_changes"
    # status lists
    STATUS_VERSION = "status_version"
    STATUS_TOO_EARLY = "status_too_early"
    STATUS_BITS = "status_bits"
    STATUS_CHANGED = "status_changed"
    # consent
    UNTIL_PASSED = "until_passed"
    UNTIL_TOO_FAR = "until_too_far"
    HANDLE_TAKEN = "handle_taken"
    UNKNOWN_HANDLE = "unknown_handle"
    TOO_MANY_DATA = "too_many_data"
    UNKNOWN_DATA = "unknown_data"
    UNKNOWN_GRANT = "unknown_grant"
    GRANT_REVOKED = "grant_revoked"
    UNKNOWN_MANDATE = "unknown_mandate"
    MANDATE_TAKEN = "mandate_taken"
    NOT_IN_FORCE = "not_in_force"
    OUTSIDE_BASIS = "outside_basis"
    USES_EXHAUSTED = "uses_exhausted"
    KEY_USED = "key_used"
    SEAL_TOO_LONG = "seal_too_long"
    UNKNOWN_INTENT = "unknown_intent"
    INTENT_NOT_FINAL = "intent_not_final"
    INTENT_OVER = "intent_over"
    NO_BASIS = "no_basis"
    NOT_CUSTODIAN = "not_custodian"
    ALREADY_REPORTED = "already_reported"
    ERASURE_ASKED = "erasure_asked"
    ERASURE_NOT_ASKED = "erasure_not_asked"
    HELD = "held"
    ERASED = "erased"
    TOO_MANY_HOLDS = "too_many_holds"
    # programs
    UNKNOWN_PROGRAM = "unknown_program"
    PROGRAM_TAKEN = "program_taken"
    WRONG_ENGINE = "wrong_engine"
    TOO_MANY_VERSIONS = "too_many_versions"
    PERIOD_NOT_OPEN = "period_not_open"
    ENROLMENT_INVALID = "enrolment_invalid"
    NULLIFIER_USED = "nullifier_used"
    UNKNOWN_ACCOUNT = "unknown_account"
    TRACE_TOO_COARSE = "trace_too_coarse"
    ALREADY_CLAIMED = "already_claimed"
    OVER_BUDGET = "over_budget"
    TOO_FEW_ACCOUNTS = "too_few_accounts"
    NOT_BALANCED = "not_balanced"
    TOO_FEW_POINTS = "too_few_points"
    UNKNOWN_CLAIM = "unknown_claim"
    ALREADY_AUDITED = "already_audited"
    AUDIT_CONTRADICTORY = "audit_contradictory"
    AUDIT_NOT_GRANTED = "audit_not_granted"
    # custody
    LOT_TAKEN = "lot_taken"
    UNKNOWN_LOT = "unknown_lot"
    NOT_HOLDER = "not_holder"
    LOT_UNAVAILABLE = "lot_unavailable"
    NOT_A_WEIGHING = "not_a_weighing"
    WEIGHING_USED = "weighing_used"
    TOO_MUCH_MASS = "too_much_mass"
    MANIFEST_TAKEN = "manifest_taken"
    UNKNOWN_MANIFEST = "unknown_manifest"
    NOT_A_PARTY = "not_a_party"
    OUT_OF_STEP = "out_of_step"
    OFFER_LAPSED = "offer_lapsed"
    MASS_UNBALANCED = "mass_unbalanced"
    NOT_BETWEEN = "not_between"


class InvalidMessage(Exception):
    """Bytes or values that no honest peer sends. The sender is at fault; nothing was changed.

    `code` is stable, like that of `InvalidTransaction`: `malformed` unless a more exact one is given.
    """

    def __init__(self, message: str, code: str = "malformed") -> None:
        super().__init__(message)
        self.code = code


class InvalidTransaction(Exception):
    """A transaction that is refused. The submitter is at fault; nothing was changed.

    `code` is stable (documented in docs/errors.md, counted in metrics, answered by the API);
    the message says what was found, and the documentation of the code says how to mend it.
    """

    def __init__(self, code: str, message: str) -> None:
        super().__init__(f"{code}: {message}")
        self.code = code
        self.message = message


class Fatal(Exception):
    """Our own state cannot be trusted: the process stops and answers nothing more.

    `code` is stable (docs/errors.md, "What ends a node"); the message holds the cure.
    """

    code = "fatal"
