"""How statements are written, compiled once, and read into rows."""
