"""The attacks as the page of threats lists them: `python -m tests.hostile.threat_page --write`."""

import argparse
from pathlib import Path

from tests.hostile import (
    bytes_attacks,
    content_attacks,
    evidence_attacks,
    gate_attacks,
    name_attacks,
    organisation_attacks,
    people_attacks,
    right_attacks,
    sign_in_attacks,
    verdict_attacks,
)
from tests.hostile.table import ATTACKS

MODULES = (
    right_attacks,
    people_attacks,
    organisation_attacks,
    sign_in_attacks,
    gate_attacks,
    verdict_attacks,
    bytes_attacks,
    content_attacks,
    evidence_attacks,
    name_attacks,
)
PAGE = Path(__file__).parents[2] / "docs" / "threat-model.md"
BEGIN, END = "<!-- attacks: begin -->", "<!-- attacks: end -->"


def listing() -> str:
    """Give the list: what the attacks of a module are about, and what each would come to."""
    parts = []
    for module in MODULES:
        title, _, about = str(module.__doc__).strip().partition(": ")
        ours = [one for one in ATTACKS.values() if one.module == module.__name__]
        parts.append(f"**{title}**: {about.rstrip('.')}.\n\n" + "\n".join(f"- {one.name}" for one in ours))
    return "\n\n".join(parts)


def page() -> str:
    """Give the page with the list as it is now."""
    text = PAGE.read_text()
    before, after = text.partition(BEGIN)[0], text.partition(END)[2]
    return f"{before}{BEGIN}\n{listing()}\n{END}{after}"


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--write", action="store_true", help="put the list into its page")
    if parser.parse_args().write:
        PAGE.write_text(page())
    else:
        print(listing())
