"""Who asks and what they may: principals, tokens, grants, namespaces, sessions."""
