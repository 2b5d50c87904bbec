"""Telling others what was done: events in one order, to readers and to webhooks."""
