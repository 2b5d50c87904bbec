"""The names that the template's things bear, each a word that stands nowhere else."""

import re

SPACE, LINE, BASE, STEP, PERSON, AGENT = (
    "templatespace",
    "templateline",
    "templatebase",
    "templatestep",
    "templateperson",
    "templateagent",
)
NAMES = re.compile("|".join((SPACE, LINE, BASE, STEP, PERSON, AGENT)))

NUMBER = re.compile(rf"(?<={LINE}):v\d+|(?<=\"version\": )\d+|(?<=\"version\":)\d+")
"""The number of a version, in its name and beside one."""
REVISION = re.compile(r"(?<=\"revision\": )\d+|(?<=\"revision\":)\d+")
