"""Who calls and what they may do: principals, tokens, grants, namespaces, sessions."""
