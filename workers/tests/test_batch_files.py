"""Which files a batch takes, what they are called, and when they are complete."""

import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.atomic import atomic_file
from service.batches.files import original_path, printable_name
from service.errors import InvalidRequest
from workers.batch_files import (
    FileChoice,
    FileItem,
    FileState,
    find_files,
    result_path,
)
from workers.batch_output import OutputFolder, remove_parts
from workers.batch_watch import Settling

# Any bytes a Linux file name can hold.
COMPONENT = st.binary(min_size=1, max_size=255).filter(
    lambda name: b"/" not in name and b"\0" not in name and name not in {b".", b".."}
)
RELATIVE = st.lists(COMPONENT, min_size=1, max_size=3).map(
    lambda parts: os.fsdecode(b"/".join(parts))
)


@given(RELATIVE)
def test_names_are_printable_and_lead_back(relative):
    name = printable_name(relative)
    assert all(part.isprintable() for part in name.split("/"))
    name.encode()
    assert original_path(name) == relative


@given(st.lists(RELATIVE, min_size=2, max_size=6, unique=True))
def test_results_never_share_a_place_and_fit_a_file_system(relatives):
    paths = [result_path(Path("/out"), printable_name(one)) for one in relatives]
    assert len(set(paths)) == len(paths)
    # Nor is one's file another's folder.
    assert not set(paths) & {above for path in paths for above in path.parents}
    assert all(len(part.encode()) <= 255 for path in paths for part in path.parts)


@pytest.mark.parametrize("name", ["../../a.mp4", "/etc/a.mp4", "a/../../b", "..", "./../.."])
def test_no_name_leads_out_of_the_folder_of_results(name, tmp_path):
    place = result_path(tmp_path / "out", name)
    assert Path(os.path.abspath(place)).is_relative_to(tmp_path / "out")  # noqa: PTH100 - textual


def _make(folder, *names):
    for name in names:
        path = folder / os.fsdecode(name)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"x")


def test_folders_are_walked_without_the_output_and_what_is_hidden(tmp_path):
    _make(tmp_path, "a.mp4", "cam/a.MKV", "cam/note.txt", ".part.mp4", ".cache/b.mp4", "out/c.mp4")
    _make(tmp_path, b"cam/line\nbreak.mp4", b"cam/bad\xff.mp4", "cam/\N{SNOWMAN}.avi")
    (tmp_path / "link.mp4").symlink_to(tmp_path / "a.mp4")
    (tmp_path / "loop").symlink_to(tmp_path)
    found = find_files(FileChoice((str(tmp_path),), left_out=tmp_path / "out"))
    assert [item.name for item in found] == [
        "a.mp4",
        "cam/a.MKV",
        "cam/bad%FF.mp4",
        "cam/line%0Abreak.mp4",
        "cam/\N{SNOWMAN}.avi",
        "link.mp4",
    ]
    assert all(item.path.is_file() for item in found)
    everything = find_files(
        FileChoice((str(tmp_path),), patterns=("*",), left_out=tmp_path / "out")
    )
    assert "cam/note.txt" in {item.name for item in everything}


def test_several_folders_lists_and_patterns(tmp_path):
    _make(tmp_path, "one/x.mp4", "two/x.mp4", "two/deep/y.mp4", "z.bin")
    one, two = tmp_path / "one", tmp_path / "two"
    both = find_files(FileChoice((str(one), str(two))))
    assert [item.name for item in both] == ["one/x.mp4", "two/deep/y.mp4", "two/x.mp4"]
    listed = tmp_path / "list.txt"
    listed.write_bytes(b"# comment\none/x.mp4\r\n\nz.bin\n/elsewhere/w.mp4\n../up.mp4\n")
    names = [item.name for item in find_files(FileChoice((), (listed,)))]
    above = str(tmp_path.parent).lstrip("/")
    assert names == sorted(["%2Felsewhere/w.mp4", f"%2F{above}/up.mp4", "one/x.mp4", "z.bin"])
    by_pattern = find_files(FileChoice((f"{tmp_path}/two/**/*.mp4",)))
    assert [item.path.name for item in by_pattern] == ["y.mp4", "x.mp4"]


def test_inputs_that_cannot_be_used_are_refused(tmp_path):
    with pytest.raises(InvalidRequest, match="no file or folder"):
        find_files(FileChoice((str(tmp_path / "absent"),)))
    _make(tmp_path, "a/same/x.mp4", "b/same/x.mp4")
    with pytest.raises(InvalidRequest, match="common folder"):
        find_files(FileChoice((str(tmp_path / "a/same"), str(tmp_path / "b/same"))))


def _state(size, mtime=1):
    return FileState(size, mtime, 7)


def test_what_a_kill_left_is_removed_and_what_is_somebody_s_stays(tmp_path):
    left = []
    folder = OutputFolder(tmp_path)
    for target in (
        folder.failures,
        folder.videos / "cam/a.mp4.json",
        folder.videos / f"{'x' * 80}.json",
    ):
        with atomic_file(target):
            left.extend(target.parent.glob(".*"))
    for path in left:
        path.write_bytes(b"a part")
    theirs = (".bashrc", ".env.local", ".git/config", "videos/.directory", "videos/.a.mp4.Xa81bc")
    _make(tmp_path, *theirs)
    remove_parts(folder)
    assert len(left) == 3
    assert not any(path.exists() for path in left)
    assert all((tmp_path / name).exists() for name in theirs)


def test_a_growing_file_is_taken_once_it_has_settled_and_again_after_a_change():
    item = FileItem("a.mp4", Path("a.mp4"))
    settling = Settling(10.0)
    assert settling.ready([(item, _state(1))], 0.0) == []
    assert settling.ready([(item, _state(2))], 9.0) == []
    assert settling.ready([(item, _state(2))], 18.9) == []
    assert settling.ready([(item, _state(2))], 19.0) == [item]
    settling.taken({"a.mp4"})
    assert settling.ready([(item, _state(2))], 40.0) == []
    assert settling.ready([(item, _state(2, mtime=2))], 41.0) == []
    assert settling.ready([(item, _state(2, mtime=2))], 51.0) == [item]
    assert settling.ready([], 52.0) == []
    assert settling.ready([(item, _state(2))], 53.0) == []
