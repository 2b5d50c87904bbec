"""How a process uses its machine, whatever its purpose."""
