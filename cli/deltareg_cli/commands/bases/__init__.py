"""Commands for bases."""
