"""Bases: finds them on this machine, fetches them and pushes them."""
