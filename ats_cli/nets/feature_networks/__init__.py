"""The members of FEATURE_NETWORKS, and the architectures they build."""
