"""Who may do what: rights, the resources they are asked on, and the one answer over both."""
