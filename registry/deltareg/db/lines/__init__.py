"""Delta lines and their versions: lineage, search, revocations, signatures, resolution."""
