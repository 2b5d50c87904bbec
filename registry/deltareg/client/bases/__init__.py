"""Bases: found on this machine or fetched, and pushed."""
