"""Input files: what a path, a folder and a glob name, and what is said where they name nothing."""

import os
import sys
from pathlib import Path
from subprocess import run

import pytest

from millrace.errors import InputError
from millrace.storage.files import list_files, open_input

NAMES = ["2026-01-01.csv", "2026-01-02.csv", "sub/deep/2026-01-03.csv", "sub/notes.txt", "_tmp/x.csv", ".hidden.csv"]


def make_folder(parent: Path) -> Path:
    for name in NAMES:
        path = parent / "in" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(name)
    return parent / "in"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return make_folder(tmp_path)


@pytest.mark.parametrize(
    ("uris", "expected"),
    [
        ("{}", ["2026-01-01.csv", "2026-01-02.csv", "sub/deep/2026-01-03.csv", "sub/notes.txt"]),
        ("file://{}/", ["2026-01-01.csv", "2026-01-02.csv", "sub/deep/2026-01-03.csv", "sub/notes.txt"]),
        ("{}/*.csv", ["2026-01-01.csv", "2026-01-02.csv"]),
        ("{}/**/*.csv", ["2026-01-01.csv", "2026-01-02.csv", "sub/deep/2026-01-03.csv"]),
        ("{}/s?b/**", ["sub/deep/2026-01-03.csv", "sub/notes.txt"]),
        ("{}/*/deep", ["sub/deep/2026-01-03.csv"]),
        ("{}/*[2-3].csv", ["2026-01-02.csv"]),
        ("{}/_tmp/x.csv", ["_tmp/x.csv"]),
        (["{}/2026-01-02.csv", "{}/sub/../2026*"], ["2026-01-01.csv", "2026-01-02.csv"]),
    ],
)
def test_what_is_named(folder, uris, expected):
    uris = [uri.format(folder) for uri in ([uris] if isinstance(uris, str) else uris)]
    assert [file.path for file in list_files(uris)] == [f"{folder}/{name}" for name in expected]


def test_a_file_whose_name_looks_like_a_pattern(folder):
    (folder / "a[1].csv").write_text("x")
    assert [file.size for file in list_files(str(folder / "a[1].csv"))] == [1]


def test_relative_paths_become_absolute(folder, monkeypatch):
    monkeypatch.chdir(folder)
    assert list_files("2026-01-0*.csv") == list_files(f"{folder}/2026-01-0*.csv")


def test_the_fingerprint_changes_with_the_file(folder):
    first = list_files(str(folder))
    assert list_files(str(folder)) == first
    os.utime(folder / "2026-01-02.csv", ns=(1, 1))
    changed = [old.path for old, new in zip(first, list_files(str(folder)), strict=True) if old != new]
    assert changed == [f"{folder}/2026-01-02.csv"]


@pytest.mark.parametrize(
    ("uri", "message"),
    [
        ("{}/2026-01-04.csv", "no such file or folder: found '{0}/2026-01-04.csv'; did you mean {0}/2026-01-0"),
        ("{}/sb/notes.txt", "no such file or folder: found '{0}/sb/notes.txt'; did you mean {0}/sub?"),
        ("{}/2027*", "no file matches the pattern: found '{0}/2027*'"),
        ("{}/empty", "the folder holds no files: found '{0}/empty'"),
        ("{}/broken", "the folder holds no files: found '{0}/broken'"),
        ("nfs://host/a", "no store for this address: expected a path, file://, s3:// or hdfs://; found 'nfs://host/a'"),
    ],
)
def test_what_is_said_where_nothing_is_named(folder, uri, message):
    (folder / "empty").mkdir()
    (folder / "broken").mkdir()
    (folder / "broken" / "link").symlink_to("nowhere")
    with pytest.raises(InputError) as caught:
        list_files(uri.format(folder))
    assert str(caught.value).startswith(message.format(folder))


def test_open_gives_the_bytes_at_any_place(folder):
    with open_input(f"{folder}/sub/notes.txt") as file:
        file.seek(4)
        assert file.read() == b"notes.txt"
    with pytest.raises(InputError, match="not a file: expected a file; found the folder"):
        open_input(str(folder))
    with pytest.raises(InputError, match=r"no such file or folder: .* did you mean .*notes.txt"):
        open_input(f"{folder}/sub/note.txt")


UNPRIVILEGED = """
import os, sys
from millrace.errors import InputError
from millrace.storage.files import list_files, open_input
os.setgroups([]); os.setgid(65534); os.setuid(65534)  # after the imports: they may lie where only root may read
for call, path in ((list_files, sys.argv[1]), (open_input, sys.argv[2])):
    try:
        print(call(path))
    except InputError as error:
        print(error.message)
"""


@pytest.mark.skipif(os.getuid() != 0, reason="only root can drop its privileges")
def test_no_permission_to_read(open_path):
    folder = make_folder(open_path)
    (folder / "sub").chmod(0)
    (folder / "2026-01-01.csv").chmod(0)
    arguments = [sys.executable, "-c", UNPRIVILEGED, str(folder), str(folder / "2026-01-01.csv")]
    answer = run(arguments, capture_output=True, text=True)
    assert answer.stdout.splitlines() == ["no permission to read"] * 2, answer.stderr
