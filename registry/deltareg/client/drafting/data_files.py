"""Reads a user's data as rows: JSON lines, CSV, texts, folders, and Parquet with pyarrow."""

import csv
import importlib
from collections.abc import Callable, Iterator, Sequence
from hashlib import blake2b
from itertools import islice
from pathlib import Path
from typing import Any, cast

from deltareg.documents.json_values import is_list, is_object, parse_json
from deltareg.errors import InvalidInput, Misconfigured, NotFound
from deltareg.suites.drafting.rows import Record

MOST_ROWS = 100_000
"""What is read of a data set; a suite takes some hundreds of them."""
IMAGES = frozenset({".bmp", ".gif", ".jpeg", ".jpg", ".png", ".tif", ".tiff", ".webp"})
_SHEETS = ("metadata.jsonl", "metadata.csv")
_MOST_FIELD = 1 << 24
_FIX = "give a file .jsonl, .json, .csv, .tsv, .txt or .parquet, or a folder"
_AS_OBJECT = 'write each row as an object, such as {"text": "...", "label": 1}'


def read_records(path: Path) -> list[Record]:
    """Return the rows of a file, or of a folder of files or images; at most `MOST_ROWS`.

    A `metadata.jsonl` or `metadata.csv` in a folder lists its images. Without one, the folders of
    the images are their classes.

    Raises:
        NotFound: The path does not exist.
        InvalidInput: The data cannot be read; the message names the line.
        Misconfigured: It is Parquet, and pyarrow is not installed.
    """
    records = list(islice(each_record(path), MOST_ROWS))
    if not records:
        raise InvalidInput(f"{path} holds no rows", fix=_AS_OBJECT)
    return records


def each_record(path: Path) -> Iterator[Record]:
    """Yield the rows one by one, however many there are.

    Raises:
        As `read_records`.
    """
    if path.is_dir():
        return _of_folder(path)
    if not path.exists():
        raise NotFound(f"there is no file {path}", fix="name a file or a folder with data")
    reader = _READERS.get(path.suffix.lower())
    if reader is None:
        raise InvalidInput(f"{path.name} is of no kind that can be read", fix=_FIX)
    return _read_guarded(reader, path)


def training_texts(path: Path) -> Iterator[str]:
    """Yield all text in training data, row by row, whatever its columns are called.

    Raises:
        As `read_records`.
    """
    return (" ".join(texts_in(record)) for record in each_record(path))


def training_images(path: Path) -> Iterator[str]:
    """Yield the mark of every image in training data.

    Raises:
        As `read_records`.
    """
    for record in each_record(path):
        if isinstance(image := record.get("image"), str):
            yield image_mark(image)


def image_mark(image: str) -> str:
    """Return a word that identifies an image by its content, whatever its file is called.

    Raises:
        InvalidInput: The file cannot be read.
    """
    try:
        return blake2b(Path(image).read_bytes(), digest_size=16).hexdigest()
    except OSError as error:
        raise InvalidInput(f"{image} cannot be read: {error.strerror}", fix="correct the list of images") from error


def texts_in(value: object) -> Iterator[str]:
    """Yield all text in a row, whatever its columns are called."""
    if isinstance(value, str):
        yield value
    elif is_object(value):
        for key, item in value.items():
            # Of a turn, who speaks is no part of what is said.
            if key not in {"role", "from"}:
                yield from texts_in(item)
    elif is_list(value):
        for item in value:
            yield from texts_in(item)


def _of_folder(path: Path) -> Iterator[Record]:
    sheet = next((path / name for name in _SHEETS if (path / name).is_file()), None)
    if sheet is not None:
        return (_beside(record, path) for record in each_record(sheet))
    files = sorted(one for one in path.rglob("*") if one.is_file())
    images = [one for one in files if one.suffix.lower() in IMAGES]
    if images:
        return _of_images(images, path)
    data = [one for one in files if one.suffix.lower() in _READERS]
    if not data:
        raise InvalidInput(f"{path} holds no data", fix=_FIX)
    return (record for one in data for record in each_record(one))


def _of_images(images: Sequence[Path], top: Path) -> Iterator[Record]:
    """Yield a row for each image, with its folder as the class."""
    flat = next((one for one in images if one.parent == top), None)
    if flat is not None:
        raise InvalidInput(
            f"{flat.name} lies in no folder of a class",
            fix="put images into a folder for each class, or list them with their texts in "
            "metadata.csv: file_name,caption",
        )
    return ({"image": str(one), "label": one.relative_to(top).parts[0]} for one in images)


def _beside(record: Record, folder: Path) -> Record:
    """Return a row with the full path of its image."""
    key = next((key for key in ("file_name", "image", "path", "file") if key in record), None)
    if key is None:
        return record
    image = (folder / str(record[key])).resolve()
    if not image.is_relative_to(folder.resolve()) or not image.is_file():
        raise InvalidInput(f"there is no {record[key]} in {folder}", fix="correct the list of images")
    rest = {name: value for name, value in record.items() if name != key}
    return {"image": str(image), **rest}


def _read_guarded(read: Callable[[Path], Iterator[Record]], path: Path) -> Iterator[Record]:
    try:
        yield from read(path)
    except UnicodeDecodeError as error:
        raise InvalidInput(f"{path.name} is not UTF-8: {error.reason}", fix="save it as UTF-8") from error
    except csv.Error as error:
        raise InvalidInput(f"{path.name} is no CSV: {error}", fix=_FIX) from error
    except OSError as error:
        raise InvalidInput(f"{path} cannot be read: {error.strerror or error}") from error


def _lines(path: Path) -> Iterator[Record]:
    with path.open(encoding="utf-8-sig") as file:
        for line in file:
            if line.strip():
                yield {"text": line.rstrip("\r\n")}


def _json_lines(path: Path) -> Iterator[Record]:
    with path.open(encoding="utf-8-sig") as file:
        for number, line in enumerate(file, 1):
            if line.strip():
                yield _object(_parse_json(line, f"{path.name}, line {number}"), path, number)


def _json(path: Path) -> Iterator[Record]:
    document = _parse_json(path.read_text("utf-8-sig"), path.name)
    records = document.get("data") if is_object(document) else document
    if not is_list(records):
        raise InvalidInput(f"{path.name} is no list of rows", fix="write one object a line: .jsonl")
    for number, item in enumerate(records, 1):
        yield _object(item, path, number)


def _parse_json(text: str, where: str) -> object:
    try:
        return parse_json(text)
    except ValueError as error:
        raise InvalidInput(f"{where}: not valid JSON: {error}", fix=_AS_OBJECT) from error


def _object(value: object, path: Path, number: int) -> Record:
    if not is_object(value):
        raise InvalidInput(f"{path.name}, row {number}: a row is an object of columns", fix=_AS_OBJECT)
    return value


def _csv(path: Path) -> Iterator[Record]:
    csv.field_size_limit(_MOST_FIELD)
    tab = path.suffix.lower() == ".tsv"
    with path.open(encoding="utf-8-sig", newline="") as file:
        rows = csv.DictReader(file, delimiter="\t" if tab else ",", strict=True)
        for number, row in enumerate(rows, 2):
            if None in row or None in row.values():
                raise InvalidInput(
                    f"{path.name}, line {number} has not as many fields as the first line",
                    fix="put fields that hold a comma or a new line into quotes, or write .jsonl",
                )
            yield dict(row)


def _parquet(path: Path) -> Iterator[Record]:
    try:
        parquet = cast(Any, importlib.import_module("pyarrow.parquet"))
    except ImportError as error:
        raise Misconfigured(
            f"{path.name} is Parquet, and pyarrow is not installed",
            fix="pip install pyarrow, or write the data as .jsonl",
        ) from error
    try:
        for batch in parquet.ParquetFile(path).iter_batches():
            yield from cast("list[Record]", batch.to_pylist())
    except (ValueError, KeyError) as error:
        raise InvalidInput(f"{path.name} is no Parquet file: {error}", fix=_FIX) from error


_READERS: dict[str, Callable[[Path], Iterator[Record]]] = {
    ".csv": _csv,
    ".json": _json,
    ".jsonl": _json_lines,
    ".ndjson": _json_lines,
    ".parquet": _parquet,
    ".tsv": _csv,
    ".txt": _lines,
}
