"""Commands for channels, agents and the fleet."""
