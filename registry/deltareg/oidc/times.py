"""How long what providers say is good, and how far their clocks may be from ours."""

SKEW_S = 60
"""How far the clocks of a provider and a server may be apart, seconds."""
LOGOUT_AGE_S = 600
"""How old a logout token may be, seconds."""
