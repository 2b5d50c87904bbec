"""Delta lines: their versions, where those come from, and what happened to them."""
