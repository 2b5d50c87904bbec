"""The gate: what a channel asks of a version, as pure functions over facts."""
