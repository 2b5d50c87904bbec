"""Quotas: limits of namespaces and people, held in the transactions that add."""
