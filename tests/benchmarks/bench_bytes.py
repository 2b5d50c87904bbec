"""What a version costs in the database: `python tests/benchmarks/bench_bytes.py`.

LoRAs of a small base are pushed, proven, verified and promoted by the product itself, with SQLite
and with PostgreSQL. A worker verifies the first; what it reported is signed again for the others,
each under its own lease and with other values. The table tells by table what a version adds, heap
and indexes, between the first versions and the last. What goes by itself after a day (answers to
repeated requests, keys of leases) is taken out by upkeep before the last look, as it would be.
`--before FOLDER` names the source of another release, which is measured by the same. `--filled URL …`
looks at databases that `python -m tests.scale` filled instead, each divided by its versions.
"""

import argparse
import json
import os
import random
import re
import sqlite3
import subprocess
import sys
from collections import Counter
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
import sqlalchemy as sa
import transformers
from safetensors.numpy import save_file

sys.path.insert(0, str(Path(__file__).parents[2]))

from deltareg.wire import LeaseRequest, ProofReport, VerdictReport
from tests.benchmarks import page
from tests.benchmarks.bench_rollback import in_postgresql, in_sqlite
from tests.benchmarks.bench_verify import tokenizer
from tests.benchmarks.worker_beside import worker_beside, worker_process
from tests.fixtures.processes import Processes, until

_WIDTH, _RANK = 32, 4
_MODULES = ("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj")
_SHAKEN = re.compile(r"\d\.\d{4,}")
_SHOWN_BYTES = 40  # less is in the last row of the table
_GONE_IN_A_DAY = ("idempotency", "lease_keys")


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--versions", type=int, default=200)
    parser.add_argument("--tensors", type=int, nargs="+", default=[8, 448])
    parser.add_argument("--database", nargs="+", default=["SQLite", "PostgreSQL"])
    parser.add_argument("--before", type=Path, help="the source of another release")
    parser.add_argument("--filled", nargs="+", help="look at these databases instead")
    parser.add_argument("--json", action="store_true", help="print the figures alone")
    page.add_option(parser)
    options = parser.parse_args()
    found = {}
    for url in options.filled or ():
        found[url] = measure_filled(url)
    for tensors in () if options.filled else options.tensors:
        for name in options.database:
            key = f"{name}, {tensors} tensors"
            if options.before is not None:
                found[f"{key}, before"] = elsewhere(options, name, tensors)
            found[key] = measure(name, tensors, options.versions)
    if options.json:
        print(json.dumps(found))
        return
    text = "\n".join(told(found, options))
    print(text)
    page.write_docs(options, "bytes", text)


def elsewhere(options, name, tensors):
    """Measure another release, in a process of its own."""
    rooms = ("registry", "cli", "gpu_verify", "migrations")
    environ = {**os.environ, "PYTHONPATH": ":".join(str(options.before / room) for room in rooms)}
    command = [sys.executable, __file__, "--json", "--versions", options.versions, "--tensors", tensors]
    command += ["--database", name]
    out = subprocess.run([*map(str, command)], env=environ, check=True, stdout=subprocess.PIPE).stdout
    (figures,) = json.loads(out.splitlines()[-1]).values()
    return figures


def measure(name, tensors, versions):
    """Return the bytes a version by table: of the heap, and of its indexes."""
    opened = {"SQLite": in_sqlite, "PostgreSQL": in_postgresql}[name]
    with opened() as (folder, database):
        processes = Processes(folder)
        try:
            server = processes.api(database_url=database).start()
            url = database or f"sqlite:///{server.data_dir / 'registry.db'}"
            with server.client(folder / "cache") as client, closing(Line(client, server, folder, tensors)) as line:
                first = max(versions // 4, 2)
                for _ in range(first):
                    line.add_version()
                before = sizes(url)
                for _ in range(versions - first):
                    line.add_version()
                after = sizes(url)
        finally:
            processes.end()
    figures: dict[str, list[float]] = {}
    for place, size in after.items():
        each = (size - before.get(place, 0)) / (versions - first)
        table, _, part = place.partition("/")
        if table not in _GONE_IN_A_DAY or not goes():
            figures.setdefault(table, [0, 0])[part == "indexes"] += each
    return figures


def measure_filled(url):
    """Return the bytes of a database by table, divided by its versions."""
    engine = sa.create_engine(url)
    with engine.connect() as conn:
        versions = conn.exec_driver_sql("SELECT COUNT(*) FROM versions").scalar_one()
    engine.dispose()
    figures: dict[str, list[float]] = {}
    for place, size in sizes(url).items():
        table, _, part = place.partition("/")
        figures.setdefault(table, [0, 0])[part == "indexes"] += size / versions
    return figures


def goes():
    """Whether the release that is measured takes out what goes in a day."""
    from importlib.util import find_spec  # of the release that is on the path

    return find_spec("deltareg.service.upkeep.past_answers") is not None


class Line:
    """A line to which versions are added as people and workers do it."""

    def __init__(self, client, server, folder, tensors):
        self._modules: tuple[str, ...] = _MODULES if tensors % 14 == 0 else ("q_proj", "v_proj")
        layers = tensors // (2 * len(self._modules))
        self._client, self._folder, self._layers = client, folder, layers
        self._random, self._draw = np.random.default_rng(5), random.Random(5)
        base = folder / "base"
        shape = {"hidden_size": _WIDTH, "intermediate_size": _WIDTH, "num_hidden_layers": layers, "vocab_size": 8_000}
        heads = {"num_attention_heads": 2, "num_key_value_heads": 2}
        transformers.LlamaForCausalLM(transformers.LlamaConfig(**shape, **heads)).save_pretrained(base)
        tokenizer().save_pretrained(base)
        client.bases.push(base, "base")
        self._worker = worker_beside(client)
        with worker_process(client, server, folder):
            ref = self._push()
            client.verify(ref)
            until(lambda: client.verdicts.list(ref).items, "the first is verified", timeout_s=120)
        (verdict,) = client.verdicts.list(ref).items
        said = json.loads(_payload(client.verdicts.envelope(verdict.id).envelope))["predicate"]
        assert said["verdict"] == "pass", said
        self._said = {name: said[name] for name in VerdictReport.model_fields if name in said}
        self._said |= {"suite_digest": said["suite"]["digest"], "base_identity": said["base"]["identity"]}
        self._worker_name = said["worker"]["name"]

    def close(self):
        self._worker.close()

    def add_version(self):
        """Push, prove, verify and promote a version."""
        ref = self._push()
        self._client.verify(ref)
        while (grant := self._worker.lease(LeaseRequest(worker=self._worker_name))) is not None:
            if grant.what == "prove":
                proof = ProofReport(
                    fence=grant.fence, storage_revision=grant.storage_revision, pieces=1, wrong=[], read=""
                )
                self._worker.complete_proof(grant.run, proof)
            else:
                shaken = json.loads(_SHAKEN.sub(self._shake, json.dumps(self._said)))
                named = {"fence": grant.fence, "storage_revision": grant.storage_revision}
                self._worker.complete_run(grant.run, VerdictReport.model_validate(shaken | named))
        self._client.promote(ref, "prod")

    def _push(self):
        folder = self._folder / "delta"
        folder.mkdir(exist_ok=True)
        config = {"peft_type": "LORA", "task_type": "CAUSAL_LM", "r": _RANK, "lora_alpha": 8, "bias": "none"}
        config |= {"target_modules": list(self._modules), "base_model_name_or_path": "base", "fan_in_fan_out": False}
        (folder / "adapter_config.json").write_text(json.dumps(config))
        values = {}
        for layer in range(self._layers):
            for module in self._modules:
                part = "mlp" if module in _MODULES[4:] else "self_attn"
                place = f"base_model.model.model.layers.{layer}.{part}.{module}"
                for side, shape in (("A", (_RANK, _WIDTH)), ("B", (_WIDTH, _RANK))):
                    drawn = self._random.normal(0, 0.02, shape).astype(np.float32)
                    values[f"{place}.lora_{side}.weight"] = drawn
        save_file(values, folder / "adapter_model.safetensors")
        return self._client.push(folder, "team/lora", base="base").version.ref

    def _shake(self, found):
        """Give a number with other last places."""
        kept = found[0][:4]
        return kept + "".join(str(self._draw.randrange(1, 10)) for _ in found[0][4:])


def _payload(envelope):
    from deltareg.signing.envelopes import decode_base64

    return decode_base64(json.loads(envelope)["payload"])


def sizes(url):
    """Return bytes by table and part: `heap` or `indexes`, once what was deleted is out of them."""
    if url.startswith("sqlite"):
        with closing(sqlite3.connect(url.removeprefix("sqlite:///"))) as conn:
            rows: list[Any] = conn.execute(
                "SELECT m.tbl_name, m.type = 'index' OR d.name LIKE 'sqlite_autoindex%', SUM(d.pgsize)"
                " FROM dbstat AS d JOIN sqlite_master AS m ON m.name = d.name GROUP BY 1, 2"
            ).fetchall()
    else:
        engine = sa.create_engine(url, isolation_level="AUTOCOMMIT")
        with engine.connect() as conn:
            conn.exec_driver_sql("VACUUM ANALYZE")
            rows = list(
                conn.exec_driver_sql(
                    "SELECT relname, i, CASE WHEN i THEN pg_indexes_size(oid) ELSE pg_table_size(oid) END"
                    " FROM pg_class, unnest(ARRAY[FALSE, TRUE]) AS i"
                    " WHERE relkind = 'r' AND relnamespace = 'public'::regnamespace"
                )
            )
        engine.dispose()
    found: Counter[str] = Counter()
    for table, is_index, size in rows:
        found[f"{table}/{'indexes' if is_index else 'heap'}"] += size
    return dict(found)


def told(found, options):
    """Yield the lines of the table: the bytes a version by table, heap and indexes."""
    size = "" if options.filled else f", {options.versions} versions"
    yield f"bytes a version with its verdict{size}; rows + indexes"
    keys = list(found)
    for number, key in enumerate(keys):
        yield f"{chr(ord('a') + number)}: {key}"
    yield f"{'':<22}" + "".join(f"{chr(ord('a') + n):>16}" for n in range(len(keys)))
    tables = sorted(
        {table for figures in found.values() for table in figures},
        key=lambda table: -max(sum(figures.get(table, (0, 0))) for figures in found.values()),
    )
    small = [t for t in tables if max(sum(f.get(t, (0, 0))) for f in found.values()) < _SHOWN_BYTES]
    for table in tables:
        if table not in small:
            yield _row(table, [figures.get(table, (0, 0)) for figures in found.values()])
    yield _row(f"{len(small)} others", [_sum(f.get(t, (0, 0)) for t in small) for f in found.values()])
    yield _row("all", [_sum(figures.values()) for figures in found.values()])
    yield f"{'together':<22}" + "".join(f"{sum(_sum(f.values())):>16,.0f}" for f in found.values())


def _sum(pairs):
    pairs = list(pairs)
    return sum(heap for heap, _ in pairs), sum(indexes for _, indexes in pairs)


def _row(name, pairs):
    return f"{name:<22}" + "".join(f"{f'{heap:,.0f} + {indexes:,.0f}':>16}" for heap, indexes in pairs)


if __name__ == "__main__":
    main()
