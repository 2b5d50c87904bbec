"""The commands, one file a command or group; `deltareg_cli.main` lists and loads them."""
