"""The database dies, or is parted from its standby, and the standby takes over."""


def strike(site, chance):
    """Promote the standby, if there is one that has everything: else it is being copied."""
    way = chance.choice(("crash", "part"))
    if {"crash": site.pair.crash, "part": site.pair.part}[way]():
        return way
    site.ended.wait(2)
    return ""
