"""Pushes: what is uploaded, and how it becomes a version, a base, or another stored form."""
