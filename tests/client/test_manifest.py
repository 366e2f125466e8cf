"""Manifests: what they may say, and that every mistake names its line."""

from __future__ import annotations

from pathlib import Path

import pytest

from imagesieve.command_manifest import ManifestError, Row, read_manifest
from imagesieve.command_uploads import collect, split_paths


def rows(folder: Path, name: str, text: str | bytes) -> list[Row]:
    raw = text if isinstance(text, bytes) else text.encode()
    (folder / name).write_bytes(raw)
    return read_manifest(str(folder / name))


def problems(folder: Path, name: str, text: str | bytes) -> list[str]:
    with pytest.raises(ManifestError) as caught:
        rows(folder, name, text)
    return [problem.removeprefix(f"{folder / name}:") for problem in caught.value.problems]


def test_csv(tmp_path: Path) -> None:
    text = (
        "\ufeffpath,request_id,content_ref,uploader_ref,surface,labels\r\n"
        'a.jpg,r-1,post/7,user/9,avatar,"lang=de;source=import"\r\n'
        "\r\n"
        '"sub/b, c.png",,,,,\r\n'
    )
    first, second = rows(tmp_path, "m.csv", text)
    assert first.path == str(tmp_path / "a.jpg")
    assert first.upload.image == tmp_path / "a.jpg"
    assert (first.upload.request_id, first.upload.content_ref) == ("r-1", "post/7")
    assert (first.upload.uploader_ref, first.upload.surface) == ("user/9", "avatar")
    assert first.upload.labels == {"lang": "de", "source": "import"}
    assert second.path == str(tmp_path / "sub/b, c.png")
    assert (second.upload.request_id, second.upload.labels) == (None, {})


def test_json_lines(tmp_path: Path) -> None:
    text = '{"path": "/x/a.jpg", "labels": {"lang": "de"}}\n\n{"path": "b.jpg"}'
    first, second = rows(tmp_path, "m.jsonl", text)
    assert (first.path, first.upload.labels) == ("/x/a.jpg", {"lang": "de"})
    assert second.path == str(tmp_path / "b.jpg")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "1: the heading must have the column 'path'"),
        ("file\na.jpg\n", "1: no column 'file'; there are path, request_id"),
        ("path,path\na,b\n", "1: a column is there twice"),
        ("path,surface\na.jpg\n", "2: has 1 cells, the heading 2"),
        ("path\na.jpg\n,\n", "3: has 2 cells, the heading 1"),
        ("path,surface\n,avatar\n", "2: path: is missing"),
        ('path\n"a.jpg\n', "2: unexpected end of data"),
        ("path,labels\na.jpg,lang\n", "2: labels: 'lang' is not key=value"),
        ("path,labels\na.jpg,x=1;x=2\n", "2: labels: 'x' is there twice"),
        ("path,request_id\na,r\nb,q\nc,r\n", "4: request_id: 'r' is in line 2 already"),
        ("path,surface\na.jpg," + "s" * 129 + "\n", "2: surface: has 129 characters; at most 128"),
        ("path\n\0.jpg\n", "2: path: has a NUL"),
        (b"path\na.jpg\n\xff.jpg\n", "3: is not UTF-8"),
    ],
)
def test_mistakes_in_csv(tmp_path: Path, text: str | bytes, said: str) -> None:
    (problem,) = problems(tmp_path, "m.csv", text)
    assert problem.startswith(said)


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("a.jpg", "is not JSON"),
        ("[" * 100_000, "is not JSON"),
        ("[]", "is not a JSON object"),
        ("{}", "path: is missing"),
        ('{"path": 7}', "path: must be text"),
        ('{"path": "a", "url": "b"}', "no field 'url'; there are path"),
        ('{"path": "a", "path": "b"}', "a name is there twice"),
        ('{"path": "a\\ud800"}', "path: is not valid text"),
        ('{"path": "a", "labels": ["x"]}', "labels: must be an object"),
        ('{"path": "a", "labels": {"x": 1}}', "labels: must be text"),
        ('{"path": "a", "labels": {"": "x"}}', "labels: a key has 1 to 64 characters"),
        ('{"path": "a", "labels": {"x": "%s"}}' % ("v" * 257), "labels: 'x' has more than 256"),
        ('{"path": "a", "content_ref": null}', "content_ref: must be text"),
    ],
)
def test_mistakes_in_json_lines(tmp_path: Path, line: str, said: str) -> None:
    (problem,) = problems(tmp_path, "m.ndjson", '{"path": "ok.jpg"}\n' + line)
    assert problem.startswith(f"2: {said}")


def test_too_many_labels(tmp_path: Path) -> None:
    cell = ";".join(f"k{n}=v" for n in range(17))
    (problem,) = problems(tmp_path, "m.csv", f"path,labels\na.jpg,{cell}\n")
    assert problem == "2: labels: has 17; at most 16 are allowed"


def test_all_mistakes_are_found_and_the_first_ones_shown(tmp_path: Path) -> None:
    (tmp_path / "m.csv").write_text("path,surface\n" + "only-one-cell\n" * 30)
    with pytest.raises(ManifestError) as caught:
        read_manifest(str(tmp_path / "m.csv"))
    assert len(caught.value.problems) == 30
    assert str(caught.value).splitlines()[9:] == [caught.value.problems[9], "and 20 more"]


def test_lists_of_paths() -> None:
    assert split_paths(b"a b.jpg\nc.jpg\r\n\nd.jpg") == ["a b.jpg", "c.jpg", "d.jpg"]
    assert split_paths(b"new\nline.jpg\0c.jpg\0") == ["new\nline.jpg", "c.jpg"]
    assert split_paths(b"\xff.jpg\n") == ["\udcff.jpg"]


def test_a_list_beside_paths(tmp_path: Path) -> None:
    (tmp_path / "list").write_text("b.jpg\n")
    found = collect(["a.jpg"], paths_from=str(tmp_path / "list"), stdin=None)  # type: ignore[arg-type]
    assert [entry.name for entry in found.entries] == ["a.jpg", "b.jpg"]
    with pytest.raises(ManifestError, match="standard input"):
        collect(["-"], paths_from="-", stdin=None)  # type: ignore[arg-type]
