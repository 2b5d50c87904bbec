"""Suites: which checks a verification runs, on what, and what counts as enough."""
