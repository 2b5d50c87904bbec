"""Writes to disk so that nothing is ever half written."""
