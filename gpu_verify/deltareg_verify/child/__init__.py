"""What the sandboxed child does: examine, measure, compare, answer, decode."""
