"""The commands, one file a command or group; `deltareg_cli.frame` lists and loads them."""
