"""Verdicts, their signatures, waivers of their checks, and suites."""
