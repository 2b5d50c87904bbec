"""A storm over a whole site: what it breaks, a file a fault, and what must hold after it."""
