"""Commands for logging in, policies, files of an organisation, and settings."""
