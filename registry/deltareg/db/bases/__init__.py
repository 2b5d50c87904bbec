"""Bases, their identities, names, variants and probes, and versions that serve as bases."""
