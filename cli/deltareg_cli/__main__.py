"""`python -m deltareg_cli`: the same as `deltareg`."""

from deltareg_cli.main import main

if __name__ == "__main__":
    main()
