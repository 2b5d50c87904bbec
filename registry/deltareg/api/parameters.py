"""Types of parameters in a path or a query, with their limits."""

from typing import Annotated

from fastapi import Path, Query

Number = Annotated[int, Path(ge=0, lt=1 << 31)]
"""A number that we gave out: of a version, a token, a pack."""

Reason = Annotated[str, Query(min_length=1, max_length=2_000)]
"""Why somebody does this, for those who read the ledger."""

Seconds = Annotated[float | None, Query(ge=0, le=1e9, allow_inf_nan=False)]
"""A length of time that may be left to the server."""
