"""Trust: which signers this machine trusts, and whether they signed what a server shows."""
