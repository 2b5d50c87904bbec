"""What a process does with its machine, whatever it is for."""
