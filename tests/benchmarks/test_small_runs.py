"""Every benchmark still runs: each at its smallest, to the last line of its table."""

import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = [pytest.mark.soak, pytest.mark.timeout(900)]
HERE = Path(__file__).parent
CHECKOUT = HERE.parents[1]
SMALL = {
    "bench_api": "--rounds 1 --moment 0.1 --clients 2 --pushes 2",
    "bench_attach": "--repeat 1 --layers 2",
    "bench_backup": "{filled} {folder}/backup --objects 200",
    "bench_beside": "--before {checkout} --rounds 1 --only=--help",
    "bench_bytes": "--versions 4 --tensors 8 --database SQLite",
    "bench_codec": "--repeat 1",
    "bench_cold": "",
    "bench_crowd": "--versions 400 --database sqlite --clients 2 --seconds 1",
    "bench_exactness": "",
    "bench_fold": "--gigabytes 0.1 --repeat 1",
    "bench_golden": "",
    "bench_growth": "--versions 400 --database sqlite --count 2 --seconds 0.2",
    "bench_hub": "--mib 1 --times 1",
    "bench_large": "--quick --gigabytes 0.5",
    "bench_ledger": "--versions 200 --count 4",
    "bench_many": "--quick --count 4",
    "bench_many_tensors": "--tensors 100 200",
    "bench_maths": "--repeat 1",
    "bench_overload": "--seconds 2 --only documents",
    "bench_pages": "--lines 60 --versions 3 --count 2",
    "bench_peers": "--list",
    "bench_prove": "--gigabytes 0.05",
    "bench_queue": "--count 2 --small",
    "bench_retention": "--versions 400 --database sqlite",
    "bench_rollback": "--count 4 --commands 2",
    "bench_search": "--versions 400 --count 2 --only SQLite",
    "bench_start": "--rounds 1",
    "bench_statistics": "--draws 100 --trials 50",
    "bench_steps": "--steps 4",
    "bench_trail": "1000",
    "bench_transfer": "--megabytes 16",
    "bench_verify": "--repeat 1 --only tinyllama",
}


@pytest.mark.parametrize("name", sorted(path.stem for path in HERE.glob("bench_*.py")))
def test_a_benchmark_runs_to_its_end(name, filled, tmp_path):
    options = SMALL[name].format(filled=filled, folder=tmp_path, checkout=CHECKOUT).split()

    said = run(f"tests.benchmarks.{name}", *options)

    assert len(said.splitlines()) > 1


@pytest.fixture(scope="module")
def filled(tmp_path_factory):
    """Fill a small registry in SQLite; give its folder."""
    folder = tmp_path_factory.mktemp("filled") / "registry"
    run("tests.scale", "--versions", "400", "--folder", str(folder))
    return folder


def run(module, *options):
    """Run a module as people do; give what it printed."""
    words = [sys.executable, "-m", module, *options]
    done = subprocess.run(words, cwd=CHECKOUT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{' '.join(words[2:])}:\n{done.stdout[-2000:]}\n{done.stderr[-4000:]}"
    return done.stdout
