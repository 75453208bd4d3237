"""What each module of the ledger promises, kept as books of its own that share no code with it. Floor 8."""
