"""Everything that can be asked of a ledger: the modules' queries, assembled here by hand. Floor 4, pure.

Each module has one `queries.py`, of one shape: first the questions (`AskDevices`: a dataclass of parameters,
whose docstring says what is answered), then what they are answered with (`DeviceFound`), then a function for
each question, `ask_devices(reader, asked, page)`, and `QUERIES`, which gives them their names.
"""

from collections.abc import Mapping
from types import MappingProxyType

from p2pledger.ledger.modules.consent import queries as consent
from p2pledger.ledger.modules.custody import queries as custody
from p2pledger.ledger.modules.governance import queries as governance
from p2pledger.ledger.modules.programs import queries as programs
from p2pledger.ledger.modules.records import queries as records
from p2pledger.ledger.modules.registry import queries as registry
from p2pledger.ledger.queries import Query

_ALL = (
    *registry.QUERIES,
    *records.QUERIES,
    *custody.QUERIES,
    *programs.QUERIES,
    *consent.QUERIES,
    *governance.QUERIES,
)

QUERIES: Mapping[str, Query] = MappingProxyType({query.name: query for query in _ALL})
"""Each query by its name."""
