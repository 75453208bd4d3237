"""Grafana's pages over a ledger: what each shows is written down here, and its JSON follows. Pure.

model      what a dashboard is: rows, panels, queries, units
queries    how its PromQL is said
grafana    its JSON, with ids and places on the grid
overview, consensus, network, storage, city   one page each
"""

from p2pledger.monitoring.dashboards.city import CITY
from p2pledger.monitoring.dashboards.consensus import CONSENSUS
from p2pledger.monitoring.dashboards.grafana import to_json
from p2pledger.monitoring.dashboards.model import Dashboard
from p2pledger.monitoring.dashboards.network import NETWORK
from p2pledger.monitoring.dashboards.overview import OVERVIEW
from p2pledger.monitoring.dashboards.storage import STORAGE

DASHBOARDS: tuple[Dashboard, ...] = (OVERVIEW, CONSENSUS, NETWORK, STORAGE, CITY)
"""All pages, in the order in which they are to be read."""


def files() -> dict[str, str]:
    """The text of each page's file, by its path below the directory that all is rendered into."""
    return {f"dashboards/{page.uid}.json": to_json(page) for page in DASHBOARDS}
