"""A channel's ledger: what its newest revisions say, and the appending of another."""
