"""The command tree: commands and groups, their help pages, and what a slip was meant to be."""
