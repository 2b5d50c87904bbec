"""Signing in with a provider: in a browser, for a command line, and for as long as the provider confirms it."""
