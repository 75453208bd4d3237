"""A node's HTTP interface. Floor 7."""

from p2pledger.api.server import Addresses, serve

__all__ = ["Addresses", "serve"]
