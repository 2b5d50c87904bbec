"""Reading documents strictly: what people write, and what programs send."""
