"""Moving all deltas of a base to another: what becomes of each, and beginning with what fits."""
