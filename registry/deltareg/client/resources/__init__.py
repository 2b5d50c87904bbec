"""What a registry has, asked for over HTTP: one kind of thing a file."""
