"""Channels with their ledgers and floors, promotion requests, and the agents that follow them."""
