"""Runs: queued, leased to workers, logged, ended."""
