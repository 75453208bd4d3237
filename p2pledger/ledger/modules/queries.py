"""Everything that can be asked of a ledger: the modules' queries, assembled here by hand. Floor 4, pure."""

from collections.abc import Mapping
from types import MappingProxyType

from p2pledger.ledger.modules import record_queries
from p2pledger.ledger.modules.registry import queries as registry_queries
from p2pledger.ledger.queries import Query

QUERIES: Mapping[str, Query] = MappingProxyType(
    {query.name: query for query in (*registry_queries.QUERIES, *record_queries.QUERIES)}
)
"""Each query by its name."""
