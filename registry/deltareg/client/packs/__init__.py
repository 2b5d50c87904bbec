"""Packs: sent, read by ranges, and put together again."""
