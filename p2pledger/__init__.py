"""A permissioned ledger that a city can run without an owner.

The folders are floors: a module imports only from lower floors or from its own package, and
`tests/test_architecture.py` holds it to that. `docs/ARCHITECTURE.md` names the floors.
"""

__version__ = "0.1.0"
