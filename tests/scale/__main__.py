"""Fill a registry with synthetic history, in the shape that real pushes leave.

    python -m tests.scale --versions 100000 --database postgresql://deltareg@host/name --folder build/scale

A server lives a small life first: a base and some versions are really pushed, proven, judged,
promoted and rolled back. All else are copies of the rows that this left, with other digests, ids,
names and times, signed anew by the keys of that life. The folder gets the objects; without a
database it gets that as well, in SQLite.
"""

import argparse
from pathlib import Path

import deltareg_migrations
from tests.scale.filled import fill, live_template, told
from tests.scale.plan import FillPlan


def main() -> None:
    """Fill what the command line names."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--versions", type=int, default=100_000)
    parser.add_argument("--tensors", type=int, default=8, help="of each version")
    parser.add_argument("--folder", type=Path, default=Path("build/scale"), help="for objects, and SQLite")
    parser.add_argument("--database", default="", help="an empty PostgreSQL database; SQLite by default")
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    folder = options.folder.resolve()
    if folder.exists():
        parser.error(f"{folder} is there already; name another --folder, or remove it")
    folder.mkdir(parents=True)
    url = options.database or f"sqlite:///{folder / 'registry.db'}"
    deltareg_migrations.upgrade(url)
    template = live_template(url, folder, tensors=options.tensors)
    plan = FillPlan(options.versions, tensors=options.tensors, seed=options.seed)
    print(told(plan, fill(url, folder, plan, template)))
    print(f"DELTAREG_DATABASE_URL={url}\nDELTAREG_STORE_URL={(folder / 'blobs').as_uri()}")


if __name__ == "__main__":
    main()
