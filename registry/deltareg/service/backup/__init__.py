"""Backups: taken beside pushes, verified, and restored into an empty registry."""
