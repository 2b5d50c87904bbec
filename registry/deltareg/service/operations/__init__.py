"""Operations: what keeps a registry in order by itself, one kind at a time, on any server."""
