"""Who decides, and on what: authorities, proposals, parameters, upgrades. Floor 4, pure.

`rows` are the tables and queries, `proposals` the votes, `authorities` the lists, `parameters` the numbers.
Invariants: a list changes by at most max(1, f) members from one epoch to the next and loses none below four;
who joins was ready; a measure works from its activation height on and never before; one voice each.
"""

from p2pledger.ledger.modules.governance import authorities, parameters, proposals
from p2pledger.ledger.modules.governance.authorities import apply_genesis, close_epoch, convict
from p2pledger.ledger.modules.governance.parameters import RULES_VERSION, rules_version, value_at
from p2pledger.ledger.modules.governance.rows import authorities_at, authorities_of, awaited_peers
from p2pledger.ledger.rules import Measure, Rule

__all__ = [
    "MEASURES",
    "RULES_VERSION",
    "apply_genesis",
    "authorities_at",
    "authorities_of",
    "awaited_peers",
    "close_epoch",
    "convict",
    "rules",
    "rules_version",
    "value_at",
]

MEASURES = (*authorities.MEASURES, *parameters.MEASURES)


def rules(measures: tuple[Measure, ...]) -> tuple[Rule, ...]:
    """Governance's rules, for proposals of these measures: those of every module."""
    return (*authorities.RULES, *proposals.rules({measure.kind: measure for measure in measures}))
