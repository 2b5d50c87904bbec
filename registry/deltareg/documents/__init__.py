"""Strict reading of documents from people and programs."""
