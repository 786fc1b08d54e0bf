"""Tells the layouts of feature folders apart, by what is in them. Opens no features.

Each video ends up as a `VideoFiles`: where its streams lie. Anything that fits two layouts at once
is refused, because a wrong guess trains on the wrong numbers.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path

from models.datasets.instances import listed
from models.datasets.object_arrays import is_object_array
from models.datasets.wtalc import ARRAY_FILES, is_wtalc_folder
from models.errors import TrainingDataInvalid

RECIPE_FILE = "recipe.json"
ALL_STREAMS = "joined"
FEATURES_SUBFOLDER = "features"
# Other folders beside the features are nobody's subset and are passed over.
SUBSET_FOLDERS = frozenset({"train", "training", "val", "validation", "test", "testing"})


class Layout(StrEnum):
    """How a folder holds features.

    Source: JOINED is ACM-Net's dataset_class.py (``train/<id>.npy``) and ActivityNet folders;
    STREAM_FOLDERS is BaS-Net's and CoLA's thumos_features.py; STREAM_SUFFIXES is video_features;
    OBJECT_ARRAY is W-TALC's video_dataset.py; TABLES is mmaction2's ActivityNet features.
    """

    JOINED = "joined"  # <id>.npy, all streams side by side; perhaps in train/, test/
    TABLES = "tables"  # <id>.csv, all streams side by side
    STREAM_FOLDERS = "stream-folders"  # rgb/<id>.npy and flow/<id>.npy; perhaps in train/, test/
    STREAM_SUFFIXES = "stream-suffixes"  # <id>_rgb.npy and <id>_flow.npy
    OBJECT_ARRAY = "object-array"  # one .npy of Python objects and W-TALC's annotation arrays


@dataclass(frozen=True, slots=True)
class VideoFiles:
    """The files of one video: stream -> path, or the one entry ``joined``."""

    paths: Mapping[str, Path]
    subset: str | None = None


@dataclass(slots=True)
class Found:
    """What a folder holds, sorted by the layout it speaks for."""

    joined: list[tuple[str | None, Path]] = field(default_factory=list)
    tables: list[Path] = field(default_factory=list)
    suffixed: list[Path] = field(default_factory=list)
    stream_folders: list[tuple[str | None, Path]] = field(default_factory=list)
    objects: list[Path] = field(default_factory=list)
    annotations: list[Path] = field(default_factory=list)

    def layout(self, name: str) -> Layout:
        """Return the one layout that fits.

        Raises:
            TrainingDataInvalid: none does, or several do.
        """
        present: dict[Layout, Sequence[Path | tuple[str | None, Path]]] = {
            Layout.JOINED: self.joined,
            Layout.STREAM_FOLDERS: self.stream_folders,
            Layout.STREAM_SUFFIXES: self.suffixed,
            Layout.OBJECT_ARRAY: self.objects,
        }
        fitting = [layout for layout, files in present.items() if files]
        if not fitting and self.tables:  # beside arrays, a table is something else, tags for one
            return Layout.TABLES
        if len(fitting) == 1:
            return fitting[0]
        if not fitting:
            message = (
                f"{name} holds no features in a known layout; expected <id>.npy, rgb/ and flow/ "
                "folders, <id>_rgb.npy with <id>_flow.npy, or W-TALC's array (docs/data.md)."
            )
        else:
            examples = [f"{one.value} ({_example(present[one])})" for one in fitting]
            message = f"{name} mixes the layouts {' and '.join(examples)}; keep one per folder."
        raise TrainingDataInvalid(message)


def survey(folder: Path, streams: Sequence[str]) -> tuple[Path, Found]:
    """Look through a folder, or through its ``features`` folder where it has one.

    Returns:
        The folder that holds the features, and what is in it.

    Raises:
        TrainingDataInvalid: it is no folder, or an array in it cannot be read.
    """
    if not folder.is_dir():
        message = f"{folder} is no folder; name the folder with the features."
        raise TrainingDataInvalid(message)
    if (folder / FEATURES_SUBFOLDER).is_dir() and not any(folder.glob("*.npy")):
        folder = folder / FEATURES_SUBFOLDER
    found = Found()
    in_place = is_wtalc_folder(folder)
    if in_place:
        found.annotations.append(folder)
    for path in _visible(folder):
        if path.is_dir():
            _sort_folder(path, found, streams)
        elif path.suffix == ".csv":
            found.tables.append(path)
        elif path.suffix == ".npy" and not (in_place and path.name in ARRAY_FILES):
            _sort_file(path, found, streams)
    if (folder / RECIPE_FILE).is_file() and found.joined:
        # Our own folders: a video may be called whatever it likes, ``door_flow`` for instance.
        found.joined += [(None, path) for path in found.suffixed]
        found.suffixed.clear()
    return folder, found


def video_files(
    name: str, layout: Layout, found: Found, streams: Sequence[str]
) -> dict[str, VideoFiles]:
    """Return video id -> files, in the order of the ids, for every layout but OBJECT_ARRAY.

    Raises:
        TrainingDataInvalid: a video lacks a stream, or is there twice.
    """
    if layout is Layout.JOINED:
        triples = [(path.stem, subset, (ALL_STREAMS, path)) for subset, path in found.joined]
    elif layout is Layout.TABLES:
        triples = [(path.stem, None, (ALL_STREAMS, path)) for path in found.tables]
    elif layout is Layout.STREAM_SUFFIXES:
        triples = [
            (path.stem.rpartition("_")[0], None, (path.stem.rpartition("_")[2], path))
            for path in found.suffixed
        ]
    else:
        triples = [
            (path.stem, subset, (stream_folder.name, path))
            for subset, stream_folder in found.stream_folders
            for path in _visible(stream_folder)
            if path.suffix == ".npy"
        ]
    gathered: dict[str, dict[str, Path]] = {}
    subsets: dict[str, str | None] = {}
    for video, subset, (stream, path) in triples:
        paths = gathered.setdefault(video, {})
        if stream in paths or subsets.setdefault(video, subset) != subset:
            message = f"{name} holds {video} twice ({path.relative_to(path.parents[1])}); keep one."
            raise TrainingDataInvalid(message)
        paths[stream] = path
    if layout not in {Layout.JOINED, Layout.TABLES}:
        _require_streams(name, gathered, streams)
    return {video: VideoFiles(gathered[video], subsets[video]) for video in sorted(gathered)}


def _sort_folder(path: Path, found: Found, streams: Sequence[str]) -> None:
    """Sort a folder: one of a stream, of a subset, of annotations, or nothing of ours."""
    if is_wtalc_folder(path):
        found.annotations.append(path)
    elif path.name in streams:
        found.stream_folders.append((None, path))
    elif path.name in SUBSET_FOLDERS:
        inner = _visible(path)
        folders = [(path.name, one) for one in inner if one.is_dir() and one.name in streams]
        found.stream_folders += folders
        found.joined += [(path.name, one) for one in inner if one.suffix == ".npy"]


def _sort_file(path: Path, found: Found, streams: Sequence[str]) -> None:
    if is_object_array(path):
        found.objects.append(path)
    elif any(path.stem.endswith(f"_{stream}") for stream in streams):
        found.suffixed.append(path)
    else:
        found.joined.append((None, path))


def _require_streams(
    name: str, gathered: Mapping[str, Mapping[str, Path]], streams: Sequence[str]
) -> None:
    for stream in streams:
        missing = sorted(video for video, paths in gathered.items() if stream not in paths)
        if missing:
            message = f"{name} has no {stream} features of {listed(missing)}; add or remove them."
            raise TrainingDataInvalid(message)


def _visible(folder: Path) -> list[Path]:
    """Return what is in a folder, sorted; half-written files begin with a dot."""
    return sorted(path for path in folder.iterdir() if not path.name.startswith("."))


def _example(files: Sequence[Path | tuple[str | None, Path]]) -> str:
    first = files[0]
    return first.name if isinstance(first, Path) else first[1].name
