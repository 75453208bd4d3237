"""What operators watch a ledger by, as code: the one source of its dashboards and rules. Floor 5.

Its output is committed under `deploy/monitoring`, for the testnet and for Kubernetes alike; `make monitoring`
writes it anew. Pure but for the command's own writing: the same source gives the same bytes.
"""
