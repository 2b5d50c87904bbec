"""Converts a folder in a layout that push refuses, or could store smaller, to another layout."""
