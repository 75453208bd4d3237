"""The modules of the ledger, each a table of rules, assembled here by hand. Floor 4, pure."""

from collections.abc import Mapping
from types import MappingProxyType

from p2pledger.ledger.modules import custody, records, registry
from p2pledger.ledger.rules import Rule

RULES: Mapping[str, Rule] = MappingProxyType(
    {rule.kind: rule for rule in (*registry.RULES, *records.RULES, *custody.RULES)}
)
"""The rule of each kind of transaction."""
