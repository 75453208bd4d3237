"""A whole ledger in one process under a simulated network, clock and disk. Floor 8.

Everything that decides is real: the agreement cores, the ledger machine, the signer and its guard, the
executor and the pool's rules. What is simulated is what the world does to them. One seed gives one run,
to the last message; nothing here reads a clock or the operating system.
"""
