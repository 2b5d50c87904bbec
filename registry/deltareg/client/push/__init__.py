"""Push, and what ends in one: lint, merge, convert, re-encode."""
