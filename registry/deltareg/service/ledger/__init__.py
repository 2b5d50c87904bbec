"""A channel's ledger: reading its newest revisions, and appending another."""
