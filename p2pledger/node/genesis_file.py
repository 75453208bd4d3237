"""The file that says which ledger a node is on. Floor 6."""

import json
from pathlib import Path

from p2pledger.chain.genesis import Genesis
from p2pledger.codec import from_json


def load_genesis(path: Path) -> Genesis:
    """The genesis file. Raises: InvalidMessage, ValueError, OSError."""
    genesis: Genesis = from_json(Genesis, json.loads(path.read_text(encoding="utf-8")))
    return genesis
