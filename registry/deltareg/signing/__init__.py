"""Signatures: keys, DSSE envelopes, in-toto statements; who is trusted is said by others."""
