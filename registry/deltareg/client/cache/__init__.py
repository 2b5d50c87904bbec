"""The client's cache: what lies in it, what it keeps, and what goes."""
