"""What somebody sees at a glance: a few statements each, limited to what the caller may read."""
