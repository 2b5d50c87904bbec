"""Write `suites/catalogue.json`, what the server knows of checks; `make docs` runs this."""

from deltareg.suites.catalogue import CATALOGUE, write_catalogue
from deltareg_verify.judging.checks import all_checks
from tests.architecture.generated import compare_or_write
from tests.architecture.tree import REPOSITORY

FILE = REPOSITORY / "registry" / "deltareg" / "suites" / "catalogue.json"


def generate() -> str:
    """Write the form of every check: known ones in the order that they have, new ones last."""
    forms = {name: check.form for name, check in all_checks().items()}
    known = [name for name in CATALOGUE if name in forms]
    return write_catalogue({name: forms[name] for name in [*known, *sorted(forms.keys() - {*known})]})


if __name__ == "__main__":
    compare_or_write(FILE, generate)
