"""What must hold of each module of the ledger, worked out by other code from what was accepted. Floor 8."""
