"""The client's cache: what it holds, what it keeps, and what it prunes."""
