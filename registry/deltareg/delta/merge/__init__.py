"""Merging: the changes of several deltas into one, by one of the `methods`."""
