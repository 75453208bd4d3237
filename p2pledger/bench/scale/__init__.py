"""How the cost grows with gateways and authorities, and where it breaks. Floor 9."""
