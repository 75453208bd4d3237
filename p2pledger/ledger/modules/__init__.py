"""The modules of the ledger, each a table of rules and measures, assembled here by hand. Floor 4, pure."""

from collections.abc import Mapping
from types import MappingProxyType

from p2pledger.ledger.modules import consent, custody, governance, programs, records, registry
from p2pledger.ledger.rules import Measure, Rule

_MEASURES = (*registry.MEASURES, *programs.MEASURES, *consent.MEASURES, *governance.MEASURES)
_RULES = (
    *registry.RULES,
    *records.RULES,
    *custody.RULES,
    *programs.RULES,
    *consent.RULES,
    *governance.rules(_MEASURES),
)

MEASURES: Mapping[str, Measure] = MappingProxyType({measure.kind: measure for measure in _MEASURES})
"""What each kind of proposal means."""

RULES: Mapping[str, Rule] = MappingProxyType({rule.kind: rule for rule in _RULES})
"""The rule of each kind of transaction."""
