"""Requests to the server that several parts of the client share."""
