"""The database dies, or is parted from its standby, and the standby takes over."""


def strike(site, chance):
    """Promote the standby, if there is one that has everything."""
    if not site.pair.is_followed:
        site.ended.wait(2)
        return ""  # there is none: it is being copied
    way = chance.choice(("crash", "part"))
    {"crash": site.pair.crash, "part": site.pair.part}[way]()
    return way
