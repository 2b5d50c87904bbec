"""A folder in a layout that push refuses, or could store smaller, written in another."""
