"""Packs: sends them, reads ranges of them, and rebuilds pieces from them."""
