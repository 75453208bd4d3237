"""What a cluster is given beside the manifests of `deploy/k8s`: keys, genesis file, kustomization. Floor 9.

refusals     why something is not done, by a stable code
first_start  the permit by which a new authority's guard is made on its volume, once
overlay      the kustomization over one of the overlays, as text
making       writes all of it, offline, and never over keys
command      `p2pledger k8s`
"""
