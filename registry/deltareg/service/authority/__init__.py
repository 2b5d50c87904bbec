"""Who may do what: rights, the resources they apply to, and the one decision over both."""
