"""From a user's data to a suite's folder: reads and selects rows, writes files, learns margins.

Between `read` and `write`, a process with torch finds out what a base does with chats and images,
and how far versions are apart; without it, margins are the usual ones.
"""

import json
import random
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import cast

from deltareg.client.context import Context
from deltareg.client.drafting.data_files import each_record, image_mark, read_records, training_images, training_texts
from deltareg.client.drafting.general_texts import read_texts, shipped_texts
from deltareg.client.drafting.probe_files import cut_file, write_lines
from deltareg.client.drafting.spreads import least_reached, spread_on
from deltareg.errors import Conflict, InvalidInput
from deltareg.refs import LineRef
from deltareg.suites.drafting.answer_forms import look_at
from deltareg.suites.drafting.draft import Draft, GeneralTexts, SampleSource, SuiteAim, draft
from deltareg.suites.drafting.measures import CHOICES, FORGETTING, RIGHT, DraftMeasure, measures_of
from deltareg.suites.drafting.repeated_rows import seen_in, without_repeats
from deltareg.suites.drafting.rows import DataRow, Record, Task, classes_of, guess_task, rows_of
from deltareg.suites.drafting.sizes import LEAST
from deltareg.suites.drafting.suite_yaml import general_file, write_draft

Fields = Mapping[str, object]
MOST_IMAGES = 500
_MOST_MEASURED = 100
_GUESSED_BY = 200
_CLOSER = "closer"
_OF_LANGUAGE = frozenset({"lm", "chat"})
# Versions write token by token, which takes longer than all else; their margins are what is usual.
_UNMEASURED = frozenset({"answers", "written_form"})
_ANSWERED = frozenset({"chat", "translate"})


@dataclass(frozen=True, slots=True)
class DraftRequest:
    """What a user wants drafted.

    Attributes:
        line: The line that the suite is for.
        data: The data, a file or folder.
        task: The kind of task; None to infer it from the data.
        training: The training data; None if unknown.
        rest: The file for rows that do not become samples; None to take as many rows as needed.
        general: The file or folder of general texts; None for those of this release.
        name: The suite's name; empty for the line's name.
        out: The folder to write; None for one named after the suite.
        aim: The power and margin to aim for.
        seed: The seed for the selection of samples.
        is_forced: Whether an existing suite may be overwritten.
    """

    line: LineRef
    data: Path
    task: Task | None = None
    training: Path | None = None
    rest: Path | None = None
    general: Path | None = None
    name: str = ""
    out: Path | None = None
    aim: SuiteAim = field(default_factory=SuiteAim)
    seed: int = 0
    is_forced: bool = False

    @property
    def suite(self) -> str:
        """The name of the suite."""
        return self.name or f"{self.line.namespace}-{self.line.name}"

    @property
    def folder(self) -> Path:
        """The folder that the suite is written to."""
        return self.out or Path(f"{self.suite}-suite")


@dataclass(frozen=True, slots=True)
class CandidateRows:
    """Rows that may become samples, in the order in which they are taken.

    Attributes:
        rows: The rows.
        records: The rows as they were read, including those that may not become samples, for
            training.
        source: The kind of data that they are from.
        measure: The measure of their task.
        closer: Further measures of the same samples, which show what the first one misses.
    """

    rows: Sequence[DataRow]
    records: Sequence[Record]
    source: SampleSource
    measure: DraftMeasure
    closer: Sequence[DraftMeasure] = ()

    @property
    def file(self) -> str:
        """The suffix of the file that they are written to."""
        return ".safetensors" if self.rows[0].image else ".jsonl"


@dataclass(frozen=True, slots=True)
class DraftedSuite:
    """A suite that was written.

    Attributes:
        path: Its YAML file.
        draft: The draft that it was written from.
        files: All files, by name.
        rest: The file with the rows that did not become samples; None if there is none.
    """

    path: Path
    draft: Draft
    files: Sequence[str]
    rest: Path | None = None


@dataclass(frozen=True, slots=True)
class SuiteDrafting:
    """Drafts suites."""

    context: Context

    def read(self, wanted: DraftRequest) -> CandidateRows:
        """Read the data and select what may become samples; nothing is written yet.

        Raises:
            InvalidInput: The data fits no task, or there is too little of it.
            NotFound: There is no data.
            Conflict: The suite exists already.
        """
        self._check_free(wanted)
        records = read_records(wanted.data)
        task, by = guess_task(records[:_GUESSED_BY]) if wanted.task is None else (wanted.task, "as asked for")
        rows = rows_of(records, task)
        classes = classes_of(rows) if task == "classify" else ()
        texts = [image_mark(row.image) if row.image else row.whole for row in rows]
        chosen = without_repeats(texts)
        repeats = len(rows) - len(chosen)
        is_image = bool(rows[0].image)
        leaked = self._find_leaked([texts[at] for at in chosen], wanted.training, is_image=is_image)
        chosen = [at for number, at in enumerate(chosen) if number not in leaked]
        if len(chosen) < LEAST:
            raise InvalidInput(
                f"{len(chosen)} of {len(rows)} rows are left, and {LEAST} are the least that shows anything",
                fix="bring more rows that training has not seen",
            )
        look = look_at([rows[at].target for at in chosen]) if task in _ANSWERED else None
        measure, closer = measures_of(task, None if look is None else look.form)
        order = _in_order([rows[at] for at in chosen], chosen, seed=wanted.seed)
        most = min(measure.most, MOST_IMAGES) if rows[0].image else measure.most
        available = min(most, len(chosen) // 2 if wanted.rest else len(chosen))
        source = SampleSource(
            str(wanted.data),
            task,
            by if look is None else f"{by}; {look.why}",
            len(rows),
            repeats,
            len(leaked),
            "" if wanted.training is None else str(wanted.training),
            classes,
            available,
            None if look is None or measure is not CHOICES else max(look.guess, 1 / look.options),
        )
        return CandidateRows([rows[at] for at in order], [records[at] for at in order], source, measure, closer)

    def general(self, wanted: DraftRequest, found: CandidateRows) -> GeneralTexts:
        """Return general texts that a delta must not forget.

        Raises:
            NotFound: There is no such file.
            InvalidInput: The user's texts cannot be read, or are too few.
        """
        if wanted.general is not None:
            return read_texts(wanted.general)
        if found.source.task not in _OF_LANGUAGE:
            return GeneralTexts(origin=f"not asked for: {found.measure.description} says nothing of text")
        return shipped_texts()

    def prepare(self, found: CandidateRows, folder: Path, *, general: GeneralTexts) -> dict[str, object]:
        """Write probe files of all candidates; return the process's request fields.

        Args:
            found: The candidates.
            folder: An empty folder.
            general: General texts.
        """
        rows = found.rows[: found.source.available]
        name = f"in-domain{found.file}"
        closer = {f"{_CLOSER}-{one.check}": one for one in found.closer if one.check not in _UNMEASURED}
        by_set = {"in_domain": found.measure, **closer}
        sets = {key: [one.check, name] for key, one in by_set.items()}
        request: dict[str, object] = {
            "out": folder,
            "sets": sets,
            "parameters": {key: one.parameters for key, one in by_set.items() if one.parameters},
            "most": _MOST_MEASURED,
        }
        if rows[0].image:
            request["images"] = [row.image for row in rows]
            if found.source.classes:
                numbers = {label: at for at, label in enumerate(found.source.classes)}
                request["labels"] = [numbers[row.label] for row in rows]
            else:
                request["captions"] = [row.target for row in rows]
        elif found.source.task == "chat":
            request["chats"] = [row.turns for row in rows]
            write_lines(folder / name, rows, found.source, found.measure)
        else:
            write_lines(folder / name, rows, found.source, found.measure)
        if general.texts:
            sets["general"] = [FORGETTING.check, "general.jsonl"]
            _write_texts(folder / "general.jsonl", general)
        return request

    def write(
        self,
        wanted: DraftRequest,
        found: CandidateRows,
        prepared: Path,
        *,
        answer: Fields,
        general: GeneralTexts,
        command: str,
        notes: Sequence[str] = (),
    ) -> DraftedSuite:
        """Write the suite's folder.

        Args:
            wanted: What the user wants.
            found: The candidates.
            prepared: The folder that `prepare` has written.
            answer: The process's answer; empty if none was started.
            general: General texts.
            command: The command line that drafts the suite.
            notes: Remarks to write into the file.
        """
        items = cast("Sequence[Fields]", answer.get("items", ()))
        name = wanted.suite
        understood = cast("Sequence[str] | None", answer.get("understood"))
        asked = general if understood is None else general.keep_understood(understood)
        file = f"{name}-in-domain{found.file}"
        suite_draft = draft(
            name=name,
            line=str(wanted.line),
            source=found.source,
            measure=found.measure,
            file=file,
            in_domain=spread_on("in_domain", items, found.measure),
            general=asked,
            elsewhere=spread_on("general", items, FORGETTING),
            aim=wanted.aim,
            closer=[
                (_as_written(one, answer), spread_on(f"{_CLOSER}-{one.check}", items, one)) for one in found.closer
            ],
            reached=least_reached("in_domain", items),
            notes=notes,
        )
        folder = wanted.folder
        folder.mkdir(parents=True, exist_ok=True)
        cut_file(prepared / f"in-domain{found.file}", folder / file, suite_draft.n)
        files = [file]
        if asked.texts:
            _write_texts(folder / general_file(name), asked)
            files.append(general_file(name))
        path = folder / f"{name}.yaml"
        path.write_text(write_draft(suite_draft, command=command), encoding="utf-8")
        rest = self._write_rest(wanted, found, suite_draft.n)
        return DraftedSuite(path, suite_draft, [path.name, *files], rest)

    def _check_free(self, wanted: DraftRequest) -> None:
        path = wanted.folder / f"{wanted.suite}.yaml"
        if path.exists() and not wanted.is_forced:
            raise Conflict(f"{path} is there already", fix="write it over with --force, or name another --out")

    def _find_leaked(self, texts: Sequence[str], training: Path | None, *, is_image: bool) -> set[int]:
        if training is None:
            return set()
        return seen_in(texts, (training_images if is_image else training_texts)(training))

    def _write_rest(self, wanted: DraftRequest, found: CandidateRows, n: int) -> Path | None:
        if wanted.rest is None:
            return None
        used_records = {json.dumps(record, sort_keys=True, default=str) for record in found.records[:n]}
        unused = (
            record
            for record in each_record(wanted.data)
            if json.dumps(record, sort_keys=True, default=str) not in used_records
        )
        with wanted.rest.open("w", encoding="utf-8") as file:
            file.writelines(f"{json.dumps(one, ensure_ascii=False)}\n" for one in unused)
        return wanted.rest


def _as_written(measure: DraftMeasure, answer: Fields) -> DraftMeasure:
    """Return how a measure looks at what is written: with a template, an answer ends where it is over."""
    if measure.check != RIGHT.check or not answer.get("has_template"):
        return measure
    return replace(measure, parameters={**measure.parameters, "match": "whole"})


def describe_draft(found: DraftedSuite) -> dict[str, object]:
    """Return a written suite as plain values."""
    suite_draft = found.draft
    return {
        "suite": suite_draft.name,
        "path": str(found.path),
        "line": suite_draft.line,
        "task": suite_draft.source.task,
        "by": suite_draft.source.by,
        "rows": suite_draft.source.rows,
        "repeats": suite_draft.source.repeats,
        "leaked": suite_draft.source.leaked,
        "training": suite_draft.source.training,
        "samples": suite_draft.n,
        "power": round(suite_draft.sized.power, 3),
        "general": suite_draft.general.describe(),
        "files": list(found.files),
        "rest": None if found.rest is None else str(found.rest),
        "checks": [
            {**{key: value for key, value in asdict(one).items() if key != "measure"}, "check": one.measure.check}
            for one in suite_draft.comparisons
        ],
        "notes": list(suite_draft.notes),
    }


def _in_order(rows: Sequence[DataRow], numbers: Sequence[int], *, seed: int) -> list[int]:
    """Draw an order of rows in which every beginning has its share of each class."""
    order = list(range(len(rows)))
    random.Random(seed).shuffle(order)  # noqa: S311  # repeatable, and nothing is kept secret by it
    by_class: dict[str, list[int]] = defaultdict(list)
    for at in order:
        by_class[rows[at].label].append(at)
    places = {
        at: ((rank + 0.5) / len(members), rows[at].label)
        for members in by_class.values()
        for rank, at in enumerate(members)
    }
    return [numbers[at] for at in sorted(order, key=places.__getitem__)]


def _write_texts(path: Path, general: GeneralTexts) -> None:
    lines = (json.dumps({"text": one.text, "group": one.group}, ensure_ascii=False) for one in general.texts)
    path.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
