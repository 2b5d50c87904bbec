"""Folders of deltas and bases on this machine, read."""
