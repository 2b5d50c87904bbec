"""Mirrors: another registry kept in step by digest, over HTTP or by a folder that travels."""
