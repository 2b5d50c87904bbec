"""Whom this machine trusts, and whether what a server shows was signed by one of them."""
