"""The command line of Delta Registry: a skin over `deltareg.client`; it holds no logic."""
