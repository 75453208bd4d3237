"""What the modules promise, kept as books beside them: one judge per module. Floor 8."""
