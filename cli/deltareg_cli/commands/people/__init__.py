"""Commands for people and their scripts: who is who, who may do what, and how much."""
