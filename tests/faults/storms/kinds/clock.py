"""Clocks that jump: a server's by anything, the database's by a minute."""

_SERVER_S = (-86_400, -3_600, -120, 120, 3_600, 3 * 86_400)
_DATABASE_S = (-45, 45)


def strike(site, chance):
    """Put one clock forward or back for a while."""
    if not site.clocks:
        return ""
    name = chance.choice(sorted(site.clocks))
    seconds = chance.choice(_DATABASE_S if name == "database" else _SERVER_S)
    site.move_clock(name, seconds)
    site.ended.wait(chance.uniform(8, 25))
    site.move_clock(name, 0)
    return f"{name} {seconds:+d} s"
