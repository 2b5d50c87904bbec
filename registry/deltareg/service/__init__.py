"""The data path, one use case a file: push, ingest, verify, promote, pull, roll back, collect.

A use case takes the registry, the caller and values; it opens its own transaction, applies the
rules and answers in the types of `deltareg.wire`. It knows no HTTP.
"""
