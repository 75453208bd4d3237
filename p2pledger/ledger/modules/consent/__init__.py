"""Grants, mandates, the access log, private data and its erasure, as facts on the ledger. Floor 4, pure.

`rows` are the tables and what follows from them, `data`, `grants`, `accesses` and `erasure` the rules,
`queries` what may be asked. The payload lies beside the ledger with its custodians, who give shares of its
key for an intent that is final, and only while `is_entitled` says so (docs/decisions/consent.md).

Invariants: no wildcard grantee or purpose; at most 365 days; revoked at height h stops releases from h on;
entitled intents are at most the uses granted; sealed accesses open by themselves, and are counted in public
meanwhile; an erasure is complete when every custodian has reported; a hold blocks it, and is visible.
"""

from p2pledger.ledger.modules.consent import accesses, data, erasure, grants
from p2pledger.ledger.modules.consent.accesses import is_entitled, sealed_accesses, uses

__all__ = ["MEASURES", "RULES", "is_entitled", "sealed_accesses", "uses"]

RULES = (*data.RULES, *grants.RULES, *accesses.RULES, *erasure.RULES)
MEASURES = grants.MEASURES
