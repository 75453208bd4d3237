"""Liars, one idea each: what an authority may do with its own key and with what it hears. Floor 8."""

from p2pledger.simulator.liars.equivocating_proposer import EquivocatingProposer
from p2pledger.simulator.liars.liar import HONEST, Liar

LIARS: dict[str, type[Liar]] = {liar.__name__: liar for liar in (EquivocatingProposer,)}
"""All of them, by name: a plan draws from these."""

__all__ = ["HONEST", "LIARS", "Liar"]
