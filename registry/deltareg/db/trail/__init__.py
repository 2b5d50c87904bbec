"""The audit trail and the log over it."""
