"""A day in the city: eight organisations on one ledger, from the council's decisions to a resident's view.

cast       who there is, and which nodes are whose
stage      what chapters act through: they say, ask and expect
sensor     a device that a chapter needs
trace      the ride that a resident's claim is about
council    what authorities propose and vote on
newcomers  nodes that join while the ledger runs
chapters/  one story each, told by its own transactions and judged by what a node answers
run        the order of it all, and the report of what everybody sees
"""
