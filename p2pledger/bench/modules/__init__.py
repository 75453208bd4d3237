"""`bench modules`: what each kind of transaction costs, step by step of its way through the ledger. Floor 9.

`measuring` takes blocks all the way, `rules` tells the rules' own cost, `report` what was found, `turn` is
what blocks are made from; each other file has the blocks of one module's kinds. A block finds the ground
prepared by those before it: what is rotated was added, what is corrected was written. Signatures of
transactions are zeros and not looked at (see `solo`); those inside payloads are true.
"""
