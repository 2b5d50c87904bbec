"""The gate: a channel's requirements for a version, as pure functions over facts."""
