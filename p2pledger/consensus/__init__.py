"""Rota, the agreement protocol: who decides. docs/PROTOCOL.md has the rules; `core` carries them out."""
