"""The four packages as files, for tests that look at the code and not at what it does."""

from pathlib import Path

REPOSITORY = Path(__file__).parents[2]
SOURCE_ROOTS = ("registry", "cli", "migrations", "gpu_verify")
PACKAGES = {
    "deltareg": REPOSITORY / "registry" / "deltareg",
    "deltareg_cli": REPOSITORY / "cli" / "deltareg_cli",
    "deltareg_migrations": REPOSITORY / "migrations" / "deltareg_migrations",
    "deltareg_verify": REPOSITORY / "gpu_verify" / "deltareg_verify",
}


def modules() -> list[Path]:
    """List every module of the four packages, as paths below the repository."""
    found = (path for folder in PACKAGES.values() for path in folder.rglob("*.py"))
    return sorted(path.relative_to(REPOSITORY) for path in found)


def pages() -> list[Path]:
    """List every Markdown page of the project, as paths below the repository."""
    top = REPOSITORY.glob("*.md")
    folders = (REPOSITORY / name for name in ("docs", "deploy", *SOURCE_ROOTS))
    below = (path for folder in folders for path in folder.rglob("*.md"))
    return sorted(path.relative_to(REPOSITORY) for path in (*top, *below))
