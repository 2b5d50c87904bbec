"""What a registry has: one kind of thing a file, with all that can be done with it."""
