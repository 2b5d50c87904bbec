"""Code, which never travels with a delta."""
