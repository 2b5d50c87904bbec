"""Sealing the audit trail, and proving to others that it was not rewritten since."""
