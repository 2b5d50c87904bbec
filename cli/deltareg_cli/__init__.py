"""The command line of Delta Registry: a skin over `deltareg.client`; it holds no logic."""

import os

# Looking for plugins of pydantic reads the metadata of every installed package, for each command.
os.environ.setdefault("PYDANTIC_DISABLE_PLUGINS", "__all__")
