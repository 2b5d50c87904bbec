"""Signatures: keys, DSSE envelopes, in-toto statements. The callers decide whom to trust."""
