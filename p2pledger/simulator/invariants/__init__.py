"""What must hold of the city's modules: one judge each, over what was accepted. Floor 8."""
