"""Overviews, each by one statement."""
