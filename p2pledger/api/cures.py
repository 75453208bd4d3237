"""What a user can do about each code: the last column of docs/errors.md, held equal by a test. Floor 7."""

LEDGER_CURES = {
    "malformed": "Build transactions with the client, or compare with `tests/vectors/chain.json`.",
    "not_canonical": "Use the shortest integers and definite lengths, and nothing after the end.",
    "too_large": "Split it; keep large data elsewhere and record its hash or its root.",
    "wrong_genesis": ("Take the genesis hash from `/v1/status` of the ledger that you mean, and sign again."),
    "unknown_kind": "Check the spelling; the kinds are in `p2pledger.chain.payloads`.",
    "bad_signature": "Sign the id with the keys of `signers`, in their order, low-S.",
    "expired": (
        "Set the clock, sign again with a later `expires_ms`. Nothing was recorded under the old id."
    ),
    "expires_too_late": "Set the clock, or choose an earlier `expires_ms`.",
    "replayed": "Nothing to do: ask for the id's receipt. To say the same once more, draw a new salt.",
    "unknown_sponsor": "Check the name; organisations are registered by genesis or by governance.",
    "sponsor_suspended": "Wait until the time in the message; it ends by itself.",
    "not_entitled": "Sign with such a key. A new key may sign from the block after the one that adds it.",
    "over_quota": (
        "Wait for the next window (in the message); batch readings; ask governance for a larger quota."
    ),
    "too_many_pending": "Send the same bytes again after `Retry-After`; batch readings.",
    "missing_signature": "Collect the signature that the message names.",
    "too_few_admins": "Let more admins sign the same transaction.",
    "admins_locked_out": "Add another admin key first, or rotate the key.",
    "too_many_admins": "Revoke one first.",
    "backdated": "Use 0 for the next block, or a later height.",
    "unknown_key": "Check the key; only its own organisation changes it.",
    "invalid_key": "Give the 33 bytes of a public key.",
    "key_taken": "Make a new key; keys are never used twice.",
    "key_revoked": "Nothing to do; to end it earlier, name an earlier height.",
    "invite_invalid": "Ask an admin of the organisation for a new invite.",
    "invite_expired": "Ask for a new invite.",
    "invite_used": "Ask for a new invite; if nobody knows that gateway, revoke its key.",
    "peer_taken": "Make a new identity key.",
    "too_many_gateways": "Let a gateway in place serve more devices, or rotate its key.",
    "unknown_gateway": "Let it join first.",
    "unknown_device": "Enrol it first; wait until that is final.",
    "device_taken": "Draw 16 new random bytes.",
    "device_retired": "Enrol it anew under another id and key.",
    "unknown_schema": "See `p2pledger.chain.schema`.",
    "duplicate": "Nothing to do if it is the same reading, else give it the next free number.",
    "too_many_gaps": "Deliver what is missing first, oldest first.",
    "in_future": "Set the device's clock.",
    "personal_in_clear": "Record a salted commitment and keep the data off the ledger.",
    "not_a_day": (
        "A batch: the day's first and last millisecond. A record: the first. Split batches at midnight UTC."
    ),
    "unknown_record": "Refer to the ids of final records.",
    "already_corrected": "Correct the correction's replacement instead.",
}

API_CURES = {
    "body_too_large": "Send fewer transactions in one request.",
    "too_many_transactions": "Send fewer transactions in one request.",
    "body_too_slow": "Send the whole body at once.",
    "unsupported_media_type": "Send `application/cbor` or `application/json`, as it is.",
    "not_acceptable": "Accept `application/json` or `application/cbor`.",
    "invalid_parameter": "The limits of each are in `/openapi.json`.",
    "not_found": "The routes are listed in `/docs`.",
    "method_not_allowed": "The `Allow` header names it.",
    "unknown_transaction": "Send the same bytes again: nothing happens twice under one id.",
    "unknown_block": "Ask for a height from 1 up to the one in `/v1/status`.",
    "unknown_organisation": "Check the name; organisations are registered by genesis or by governance.",
    "not_final": "Wait: `GET /v1/transactions/{id}?wait_ms=30000`.",
    "pruned": "Ask an authority, which keeps all. What became of the transaction is still told here.",
    "receipt_not_ready": "Ask again after `Retry-After`: it comes with one of the next blocks.",
    "mempool_full": "Send the same bytes again after `Retry-After`, or to another node.",
    "too_busy": "Send the same bytes again after `Retry-After`; send less, or more in one request.",
    "overloaded": "Send it again after `Retry-After`, or to another node.",
    "too_many_subscribers": "Subscribe at another node, or again after `Retry-After`.",
    "internal": "Send the same bytes again, or to another node; report the fault.",
}

CURES = {**LEDGER_CURES, **API_CURES}
