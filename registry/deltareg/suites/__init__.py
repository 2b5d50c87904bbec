"""Suites: which checks a verification runs, on which samples, and what counts as enough."""
