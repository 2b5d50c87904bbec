"""Compares versions: by numbers, by what they do, and by bisection."""
