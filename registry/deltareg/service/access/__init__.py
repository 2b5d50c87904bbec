"""Who may do what, and who did what: tokens and the audit trail."""
