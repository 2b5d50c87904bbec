"""How the peft library lays a delta out on disk: its config, its tensor names, what it saves whole.

No code of the library is run and no text of a config is ever used as a pattern: targets are read
from tensor names and only checked against the config.
"""
