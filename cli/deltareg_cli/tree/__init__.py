"""The command tree: commands and groups, their help pages, and suggestions for mistyped lines."""
