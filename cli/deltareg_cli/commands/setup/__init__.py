"""Commands for accounts, policies and settings."""
