"""Folds deltas into their base: whole models, and versions as bases."""
