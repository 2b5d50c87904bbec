"""Every pair of operations that change something, explored: B runs whole at each pause of A.

An operation is one request to the API, recorded from the real client. A pause of A is a moment in
which another replica may act: before and after a transaction, before each statement (PostgreSQL),
around each call of the store. B runs on a replica of its own, to its end or until it waits for a lock
of A; then A goes on. What is left must be what one of the two orders leaves, one after the other.

`python -m tests.pairs --help` replays a schedule and explores all pairs.
"""
