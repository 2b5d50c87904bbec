"""How the things of the registry look to people, as blocks; shared by several commands."""
