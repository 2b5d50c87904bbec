"""How libraries lay deltas out on disk."""
