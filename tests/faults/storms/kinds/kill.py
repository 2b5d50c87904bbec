"""SIGKILL for anything that runs: servers, workers, provers, the agent, a push, a backup."""


def strike(site, chance):
    """Kill one process, or two."""
    killed = []
    for name in chance.sample(sorted(site.daemons | site.commands), chance.choice((1, 1, 2))):
        running = site.commands.get(name) or site.daemons.get(name)
        if running is not None and running.status is None and running.kill():
            killed.append(name)
    site.ended.wait(1)
    return ", ".join(killed)
