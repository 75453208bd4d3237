"""Points for residents, by rules that anybody can work out again: driving, shared energy. Floor 4, pure.

`mobility` and `energy` are the engines, `rows` the tables, `measures` what governance decides, `accounts`
and `claims` the rules, `queries` what can be asked, `replay` how a period is worked out again. Invariants:
of a period at most its budget is minted; balances = minted - redeemed - expired - revoked; one claim per
account and period; a nullifier once; credits = surplus exactly.
"""

from p2pledger.ledger.modules.programs import accounts, claims, measures

__all__ = ["MEASURES", "RULES"]

MEASURES = measures.MEASURES
RULES = (*accounts.RULES, *claims.RULES)
