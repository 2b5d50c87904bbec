"""Merging: the changes of several deltas into one, by a method of `deltareg.merging`."""
