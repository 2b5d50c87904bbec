"""Verdicts, what they were signed with, waivers of their checks, and suites."""
