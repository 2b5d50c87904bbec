"""The audit trail as a log: rows are leaves of a Merkle tree whose heads are signed checkpoints."""
