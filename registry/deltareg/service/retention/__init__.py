"""Retention: which versions of a namespace or a line are kept, by rule, and which go by themselves."""
