"""Channels with their ledgers and floors, requests for promotion, and the fleet that follows."""
