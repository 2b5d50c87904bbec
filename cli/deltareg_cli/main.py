"""`deltareg`, the program: what is imported at start, and then the frame of every command."""

from deltareg.host.garbage import collect_rarely
from deltareg.host.interrupts import ending_at_once, repeat_lost_interrupts


def main() -> None:
    """Run the command line and end the process with its status."""
    collect_rarely()
    repeat_lost_interrupts()
    with ending_at_once():
        from deltareg_cli.frame import main as run  # here, because it is most of a start

    run()


if __name__ == "__main__":
    main()
