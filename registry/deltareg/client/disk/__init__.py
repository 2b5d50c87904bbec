"""Writing to disk so that nothing is ever half there."""
