"""Pushes: how an upload becomes a version, a base, or another stored form."""
