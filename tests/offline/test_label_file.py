"""Label files: every accepted way to write answers, and errors that say what to write instead."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from imagesieve_server.core.errors import LabelsError
from imagesieve_server.offline.labelled import label_rows
from imagesieve_server.offline.labelled.label_file import LabelFile, read_labels
from imagesieve_server.offline.labelled.pictures import find_pictures

KNOWN = ("weapons", "drugs", "death")


def read(tmp_path: Path, text: str | bytes, name: str = "labels.csv") -> LabelFile:
    path = tmp_path / name
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    return read_labels(path, categories=KNOWN)


def answers(file: LabelFile) -> dict[str, list[int]]:
    return {name: found.tolist() for name, found in file.labels.items()}


def test_a_list_of_ids_answers_for_every_category(tmp_path: Path) -> None:
    file = read(tmp_path, "file,categories,artist\na.jpg,weapons; death,x\nb.jpg,,y\nc.jpg,?,\n")
    assert file.files == ("a.jpg", "b.jpg", "c.jpg")
    assert answers(file) == {"weapons": [1, 0, -1], "drugs": [0, 0, -1], "death": [1, 0, -1]}
    assert file.columns == {"artist": ("x", "y", "")}


def test_a_question_mark_beside_ids_leaves_the_others_open(tmp_path: Path) -> None:
    assert answers(read(tmp_path, "file,category\na.jpg,drugs;?\n")) == {
        "weapons": [-1],
        "drugs": [1],
        "death": [-1],
    }


def test_a_column_per_category_leaves_absent_categories_open(tmp_path: Path) -> None:
    file = read(tmp_path, "\ufefffile,weapons,drugs,year\r\na.jpg,1,0,1999\r\nb.jpg, ,?,\r\n")
    assert answers(file) == {"weapons": [1, -1], "drugs": [0, -1], "death": [-1, -1]}
    assert file.columns == {"year": ("1999", "")}


@pytest.mark.parametrize("name", ["l.jsonl", "l.ndjson", "L.JSONL"])
def test_json_lines_say_the_same(tmp_path: Path, name: str) -> None:
    lines = [
        {"file": "a.jpg", "categories": ["weapons", "death"], "year": 1999, "night": True},
        {"file": "b.jpg", "categories": [], "tags": ["x", "y"]},
        {"file": "c.jpg", "categories": "?", "year": None},
    ]
    file = read(tmp_path, "\n\n".join(map(json.dumps, lines)), name)
    assert answers(file) == {"weapons": [1, 0, -1], "drugs": [0, 0, -1], "death": [1, 0, -1]}
    assert file.columns == {
        "year": ("1999", "", ""),
        "night": ("1", "", ""),
        "tags": ("", "x;y", ""),
    }
    assert file.lines == (1, 3, 5)


def test_json_lines_with_a_key_per_category(tmp_path: Path) -> None:
    text = '{"file": "a", "weapons": true, "drugs": 0}\n{"file": "b", "weapons": null}'
    assert answers(read(tmp_path, text, "l.jsonl")) == {
        "weapons": [1, -1],
        "drugs": [0, -1],
        "death": [-1, -1],
    }


def test_the_same_row_twice_counts_once(tmp_path: Path) -> None:
    assert read(tmp_path, "file,category\na,drugs\na,drugs\n").files == ("a",)


def test_a_name_may_hold_commas_quotes_and_line_breaks(tmp_path: Path) -> None:
    file = read(tmp_path, 'file,category\n"a, ""b""\nc.jpg",drugs\nd.jpg,\n')
    assert file.files == ('a, "b"\nc.jpg', "d.jpg")
    assert file.lines == (2, 4)


MISTAKES = [
    ("", "is empty"),
    ("\n\n", "is empty"),
    ("file,category\n", "has no rows"),
    ("name,category\na,drugs\n", r"labels.csv:1: column 'file': is missing; .*'name'"),
    ("file,category\n,drugs\n", ":2: column 'file': is empty"),
    ("file,category\na,drug\n", ":2: column 'category': 'drug' is no category .*'weapons'"),
    ("file,category\na,\"drugs,death\"\n", "separated by ';'"),
    ("file,artist\na,x\n", "no column says what a picture shows"),
    ("file,category,drugs\na,drugs,1\n", "say the same thing twice"),
    ("file,category,categories\na,drugs,\n", "say the same thing twice"),
    ("file,drugs,weapon\na,1,0\n", "column 'weapon': is no category .*'weapons' is"),
    ("file,drugs\na,yes\n", ":2: column 'drugs': 'yes' is no answer; write 1"),
    ("file,drugs\na,1\nb,0\na,0\n", ":4: column 'file': 'a' stands in line 2 with other labels"),
    ("file,drugs\na,1,2\n", ":2: has 3 fields where the first line names 2"),
    ("file,drugs,\na,1,2\n", "column 3 has no name"),
    ("file,drugs,drugs\na,1,2\n", "column 'drugs': stands twice"),
    ("file;drugs\na;1\n", "separated by semicolons"),
    ("file\tdrugs\na\t1\n", "separated by tabs"),
    ('file,drugs\n"a,1\n', ":2: is not valid CSV: .*begins with a quote ends with one"),
    ('file,drugs\n"a,1\nb,0\n"c"d,1\n', ":2: is not valid CSV: .*quote inside is doubled"),
    (b"file,category\na,\xff\n", ":2: is not UTF-8"),
    ("file,category\na,drugs\n".encode("utf-16"), "is not UTF-8"),
    (b"PK\x03\x04\x14\x00\x06\x00\xff", "spreadsheet's own format .* CSV UTF-8"),
    ("file,category," + ",".join(f"c{n}" for n in range(300)) + "\n", "302 columns"),
    ("file,category\na," + "x" * 200_000 + "\n", "is not valid CSV: field larger"),
]  # fmt: skip


@pytest.mark.parametrize(("text", "message"), MISTAKES)
def test_a_wrong_file_is_named_with_the_place_and_the_remedy(
    tmp_path: Path, text: str | bytes, message: str
) -> None:
    with pytest.raises(LabelsError, match=message) as caught:
        read(tmp_path, text)
    assert str(tmp_path / "labels.csv") in caught.value.message


JSON_MISTAKES = [
    ("[1]", "is not a JSON object"),
    ("{", "is not a JSON object"),
    ("[" * 100_000, "is not a JSON object"),
    ('{"file": "a", "categories": {"drugs": 1}}', "column 'categories': holds a nested value"),
    ('{"file": "a", "categories": [1]}', "column 'categories': holds a nested value"),
    ('{"file": "a", "categories": []}\n{"file": "b"}', r":2: .*has no value; write \[\]"),
    ('{"file": ["a"], "categories": []}', "column 'file': is empty"),
    ('{"file": "a", "drugs": ["1"]}', "is no answer"),
    ('{"file": "a", "drugs": 2}', "'2' is no answer"),
    ('{"file": "\\ud800", "drugs": 1}', "half a character"),
    ('{"file": "a", "drugs": 1, "\\udfff": 1}', "half a character"),
    ("\n".join(f'{{"k{n}": 1}}' for n in range(300)), "more than 256 different keys"),
    ('{"file": "a", "drugs": 1, "drugs": 0}', ":1: column 'drugs': stands twice"),
]


@pytest.mark.parametrize(("text", "message"), JSON_MISTAKES)
def test_wrong_json_lines_are_named_too(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(LabelsError, match=message):
        read(tmp_path, text, "labels.jsonl")


def test_a_missing_and_an_over_large_file_are_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(LabelsError, match="cannot be read: No such file"):
        read_labels(tmp_path / "none.csv", categories=KNOWN)
    monkeypatch.setattr(label_rows, "MAX_BYTES", 3)
    with pytest.raises(LabelsError, match="is larger than"):
        read(tmp_path, "file,drugs\n")


@pytest.mark.parametrize(
    ("limit", "row", "message"),
    [("MAX_ROWS", 3, "more than 2 pictures"), ("MAX_FIELDS", 2, "more than 2 fields, 2 to a line")],
)
def test_more_than_memory_holds_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, limit: str, row: int, message: str
) -> None:
    monkeypatch.setattr(label_rows, limit, 2)
    with pytest.raises(LabelsError, match=f":{row + 1}: {message}"):
        read(tmp_path, "file,drugs\na,1\nb,0\nc,0\n")
    lines = "".join(f'{{"file": "{name}", "drugs": 1}}\n' for name in "abc")
    with pytest.raises(LabelsError, match=f":{row}: {message}"):
        read(tmp_path, lines, "labels.jsonl")


def test_one_endless_line_is_refused_before_it_is_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    line = '{"file": "a", "drugs": 1}'
    monkeypatch.setattr(label_rows, "MAX_LINE", len(line))
    assert read(tmp_path, f"{line}\n", "labels.jsonl").files == ("a",)
    with pytest.raises(LabelsError, match=":2: is longer than 25 characters"):
        read(tmp_path, f"{line}\n{{ {line[1:]}\n", "labels.jsonl")


@settings(deadline=None)
@given(st.binary(max_size=200), st.sampled_from(["csv", "jsonl"]))
def test_any_bytes_are_read_or_refused_by_name(
    tmp_path_factory: pytest.TempPathFactory, data: bytes, suffix: str
) -> None:
    path = tmp_path_factory.getbasetemp() / f"any.{suffix}"
    for head in (b"", b"file,category\n", b'{"file": "a", "categories": []}\n'):
        path.write_bytes(head + data)
        try:
            file = read_labels(path, categories=KNOWN)
        except LabelsError:
            continue
        assert len(file.files) == len(set(file.files)) == len(file.labels["drugs"])


# --- the pictures it names --------------------------------------------------------------------


def named(tmp_path: Path, *names: str) -> LabelFile:
    text = "\n".join(json.dumps({"file": name, "categories": []}) for name in names)
    return read(tmp_path, text, "labels.jsonl")


def test_pictures_are_found_and_hashed(tmp_path: Path) -> None:
    folder = tmp_path / "images"
    (folder / "deep").mkdir(parents=True)
    (folder / "deep" / "a.png").write_bytes(b"abc")
    (picture,) = find_pictures(named(tmp_path, "deep/../deep/a.png"), folder)
    assert picture.sha256.startswith("ba7816bf")
    assert picture.read() == b"abc"
    (folder / "deep" / "a.png").write_bytes(b"abd")
    with pytest.raises(LabelsError, match="changed while"):
        picture.read()
    (folder / "deep" / "a.png").unlink()
    with pytest.raises(LabelsError, match="No such file"):
        picture.read()


@pytest.mark.parametrize("name", ["../secret", "/etc/passwd", "a/../../secret", "link", "x\0y"])
def test_no_name_leads_out_of_the_folder(tmp_path: Path, name: str) -> None:
    folder = tmp_path / "images"
    folder.mkdir()
    (tmp_path / "secret").write_text("x")
    (folder / "link").symlink_to(tmp_path / "secret")
    with pytest.raises(LabelsError, match="leads out of"):
        find_pictures(named(tmp_path, name), folder)


def test_missing_pictures_are_counted_and_the_first_is_named(tmp_path: Path) -> None:
    (tmp_path / "here").write_text("")
    with pytest.raises(LabelsError, match=r":2: .*'a.png'.*\(2 more are missing too\)"):
        find_pictures(named(tmp_path, "here", "a.png", "b.png", "c.png"), tmp_path)
    with pytest.raises(LabelsError, match="write / between folders"):
        find_pictures(named(tmp_path, "x\\a.png"), tmp_path)
    with pytest.raises(LabelsError, match="is no folder"):
        find_pictures(named(tmp_path, "a.png"), tmp_path / "none")


@pytest.mark.parametrize("name", ["x" * 300 + ".png", "x/" * 5000 + ".png"])
def test_a_name_that_no_file_can_have_is_missing(tmp_path: Path, name: str) -> None:
    with pytest.raises(LabelsError, match=r":1: .*there is no picture 'x.*…'") as caught:
        find_pictures(named(tmp_path, name), tmp_path)
    assert len(caught.value.problem) < 250 + len(str(tmp_path))


def test_what_is_no_regular_file_is_missing_and_never_read(tmp_path: Path) -> None:
    import os

    os.mkfifo(tmp_path / "pipe")
    for name in ("pipe", "."):
        with pytest.raises(LabelsError, match="there is no picture"):
            find_pictures(named(tmp_path, name), tmp_path)
