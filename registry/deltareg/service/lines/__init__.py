"""Delta lines: their versions, where they come from, and what happened to them."""
