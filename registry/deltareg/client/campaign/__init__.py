"""Moves all deltas of a base to another: shows what becomes of each, and starts what fits."""
