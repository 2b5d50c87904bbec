"""How old something is, in words."""


def tell_age(seconds: float) -> str:
    """Write an age in its largest unit, as commands do: `40 s`, `3 h`, `1 day`, `12 days`."""
    whole = max(0, int(seconds))
    for unit, size in (("day", 86_400), ("h", 3600), ("min", 60)):
        if whole >= size:
            count = whole // size
            return f"{count} {unit}" + ("s" if unit == "day" and count > 1 else "")
    return f"{whole} s"
