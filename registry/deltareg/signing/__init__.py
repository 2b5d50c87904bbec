"""Signatures: keys, DSSE envelopes and in-toto statements; who is trusted is said by others."""
