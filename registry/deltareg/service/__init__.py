"""The use cases, one per file: push, ingest, verify, promote, pull, roll back, collect.

A use case takes the registry, the caller and values; it opens its own transaction, applies the
rules and returns the types of `deltareg.wire`. It knows nothing of HTTP.
"""
