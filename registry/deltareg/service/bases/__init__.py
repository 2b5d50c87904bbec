"""Bases, and versions that became one."""
