"""Somebody's data, read from files of every form; what is no data is told with its place."""

import csv
import json

import pytest

from deltareg.client.drafting.data_files import read_records, training_texts
from deltareg.errors import InvalidInput, Misconfigured, NotFound

ROWS = [{"text": 'one, or "two"', "label": "a"}, {"text": "drei\nvier", "label": "b"}]


def test_the_same_rows_come_from_every_form(tmp_path):
    (tmp_path / "a.jsonl").write_text("".join(f"{json.dumps(row)}\n\n" for row in ROWS))
    (tmp_path / "b.json").write_text(json.dumps(ROWS))
    (tmp_path / "c.json").write_text("\ufeff" + json.dumps({"data": ROWS}), "utf-8")
    for name, mark in (("d.csv", ","), ("e.tsv", "\t")):
        with (tmp_path / name).open("w", newline="") as file:
            writer = csv.DictWriter(file, ["text", "label"], delimiter=mark)
            writer.writeheader()
            writer.writerows(ROWS)

    for name in ("a.jsonl", "b.json", "c.json", "d.csv", "e.tsv"):
        assert read_records(tmp_path / name) == ROWS, name


def test_a_text_is_a_line_and_a_folder_is_all_its_files(tmp_path):
    (tmp_path / "a.txt").write_text("one\r\n\n two\n")
    (tmp_path / "deep").mkdir()
    (tmp_path / "deep" / "b.jsonl").write_text('{"text": "three"}\n')
    (tmp_path / "notes.md").write_text("not data")

    found = read_records(tmp_path)

    assert [row["text"] for row in found] == ["one", " two", "three"]


def test_folders_of_images_are_their_classes(tmp_path):
    for name in ("cat/1.png", "cat/2.PNG", "dog/3.jpg", "dog/notes.txt"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()

    found = read_records(tmp_path)

    assert [row["label"] for row in found] == ["cat", "cat", "dog"]
    assert found[0]["image"] == str(tmp_path / "cat/1.png")


def test_a_list_names_images_that_lie_beside_it_and_no_others(tmp_path):
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "a.png").touch()
    (tmp_path / "out.png").touch()
    (tmp_path / "in" / "metadata.csv").write_text("file_name,caption\na.png,a cat\n")

    (found,) = read_records(tmp_path / "in")
    (tmp_path / "in" / "metadata.csv").write_text("file_name,caption\n../out.png,secret\n")

    assert found == {"image": str(tmp_path / "in" / "a.png"), "caption": "a cat"}
    with pytest.raises(InvalidInput, match=r"there is no \.\./out\.png"):
        read_records(tmp_path / "in")


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.jsonl", '{"text": "x"}\n{"text": \n', "a.jsonl, line 2: not valid JSON"),
        ("a.jsonl", "[1]\n", "row 1: a row is an object"),
        ("a.json", '{"rows": []}', "is no list of rows"),
        ("a.csv", "text,label\nonly one\n", "line 2 has not as many fields"),
        ("a.csv", 'text\n"torn\n', "a.csv is no CSV"),
        ("a.txt", "\n \n", "holds no rows"),
        ("a.bin", "x", "is of no kind that can be read"),
        ("a.txt", b"\xff\xfe\x00", "is not UTF-8"),
    ],
)
def test_what_is_no_data_is_told_with_its_place(tmp_path, name, content, message):
    raw = content if isinstance(content, bytes) else content.encode()
    (tmp_path / name).write_bytes(raw)

    with pytest.raises(InvalidInput, match=message):
        read_records(tmp_path / name)


def test_what_is_not_there_or_lacks_a_library(tmp_path, monkeypatch):
    (tmp_path / "a.parquet").write_bytes(b"PAR1")
    monkeypatch.setitem(__import__("sys").modules, "pyarrow.parquet", None)
    (tmp_path / "flat").mkdir()
    (tmp_path / "flat" / "a.png").touch()

    with pytest.raises(NotFound):
        read_records(tmp_path / "gone.txt")
    with pytest.raises(Misconfigured, match="pyarrow is not installed"):
        read_records(tmp_path / "a.parquet")
    with pytest.raises(InvalidInput, match="lies in no folder of a class"):
        read_records(tmp_path / "flat")


def test_all_that_is_written_counts_as_trained_on(tmp_path):
    chat = {"messages": [{"role": "user", "content": "hello"}, {"from": "gpt", "value": "there"}]}
    (tmp_path / "a.jsonl").write_text(f'{json.dumps(chat)}\n{{"odd": {{"deep": ["name"]}}}}\n')

    assert list(training_texts(tmp_path / "a.jsonl")) == ["hello there", "name"]
