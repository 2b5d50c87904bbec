"""What somebody sees at a glance: a few statements each, of what the caller may read."""
