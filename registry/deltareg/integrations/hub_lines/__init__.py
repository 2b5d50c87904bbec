"""Lines that follow a repository on a hub: its newest commit is pushed as their next version."""
