"""The engine: what a delta is, what it does to a base, and how it is folded, compared, merged."""
