"""Tokens for workflows without a stored secret: trusts, and what an issuer says exchanged for a token."""
