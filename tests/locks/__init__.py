"""What is installed: the versions that `locks/` holds, how they are renewed, and what they are."""
