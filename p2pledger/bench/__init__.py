"""What the ledger costs, measured against what this machine could do at best. Floor 9.

Everything is real here, nodes and network too, unless a module says otherwise. Figures of one run are
compared with each other, because machines differ and are shared; so each run measures its own ceiling.
"""
