"""Reads folders of deltas and bases on this machine."""
