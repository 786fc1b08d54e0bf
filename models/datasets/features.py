"""Feature folders of our own and of others, as one thing: ids, recipe, `load`.

Opening a folder reads names and headers only; a video's numbers are read, checked and brought to
float32[T, D] when they are asked for. RGB always comes first.
"""

import io
import json
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, overload

import numpy as np
from numpy.typing import NDArray

from models.atomic import write_bytes_atomic, write_text_atomic
from models.datasets.feature_layouts import (
    ALL_STREAMS,
    RECIPE_FILE,
    Found,
    Layout,
    VideoFiles,
    survey,
    video_files,
)
from models.datasets.instances import listed
from models.datasets.object_arrays import (
    ObjectArray,
    read_object_array,
    read_plain_array,
    reason_of,
)
from models.datasets.wtalc import read_names, read_subsets
from models.errors import RecipeMismatch, TrainingDataInvalid
from models.recipe import STREAM_NAMES, FeatureRecipe, require_same_recipe
from models.types import FeatureSet, FloatArray

logger = logging.getLogger(__name__)

# What the field calls "I3D features": 25 fps, 16-frame windows, RGB and TV-L1 flow, 2 x 1024.
# Their weights and exact decoding are unknown, hence a recipe without hashes.
EXTERNAL_I3D = FeatureRecipe(name="external-i3d")
MAX_ID_BYTES = 240  # a file name may have 255, and the suffix and a temporary name are added
SHAPE_LETTERS = "TD"


@dataclass(frozen=True, slots=True)
class FeatureFolder:
    """Features of many videos, loaded one at a time.

    Attributes:
        folder: that holds them.
        layout: how.
        recipe: of all of them.
        ids: of the videos, sorted.
    """

    folder: Path
    layout: Layout
    recipe: FeatureRecipe
    ids: tuple[str, ...]
    _files: Mapping[str, VideoFiles] = field(repr=False)
    _positions: Mapping[str, int] = field(default_factory=dict, repr=False)
    _arrays: ObjectArray | None = field(default=None, repr=False)

    def load(self, video: str) -> FloatArray:
        """Return float32[T, D] of one video, T >= 1, all finite.

        Where two streams differ by one snippet (flow has one frame less), the shorter one counts;
        that is logged as ``stream_longer_by_one``.

        Raises:
            TrainingDataInvalid: there is no such video, or its features are cut short, empty, not
                finite, no numbers, or streams differ by more than one snippet.
            RecipeMismatch: they have another width than the recipe.
        """
        if video not in self._files:
            message = f"{self.folder.name} has no features of {video}; extract them first."
            raise TrainingDataInvalid(message)
        if self._arrays is not None:
            values = _checked(
                video, self._arrays[self._positions[video]], self.recipe.feature_width
            )
            return np.array(values)  # out of the file, which stays mapped
        paths = self._files[video].paths
        if ALL_STREAMS in paths:
            return _checked(video, _read(paths[ALL_STREAMS]), self.recipe.feature_width)
        parts = [
            _checked(f"{video} ({stream})", _read(paths[stream]), self.recipe.stream_width)
            for stream in self.recipe.streams
        ]
        return _side_by_side(video, parts)

    def subset_of(self, video: str) -> str | None:
        """Return the subset that the layout states for a video, or None."""
        return self._files[video].subset

    def feature_set(self, video: str) -> FeatureSet:
        """Return a video's features with their seconds, as if it ended with its last snippet."""
        values = self.load(video)
        recipe = self.recipe
        frames = (len(values) - 1) * recipe.stride_frames + recipe.window_frames
        grid = recipe.grid(frames / recipe.fps)
        return FeatureSet(values, grid.snippet_seconds(), recipe.digest, grid.duration_seconds)

    def sequence(self, ids: Sequence[str]) -> "LazyFeatures":
        """Return the features of some videos as a sequence that reads each when it is asked for."""
        return LazyFeatures(self, tuple(ids))


@dataclass(frozen=True, slots=True)
class LazyFeatures(Sequence[FloatArray]):
    """Features of some videos in order; memory holds only what is in use."""

    folder: FeatureFolder
    ids: tuple[str, ...]

    def __len__(self) -> int:
        """Return the number of videos."""
        return len(self.ids)

    @overload
    def __getitem__(self, index: int) -> FloatArray: ...

    @overload
    def __getitem__(self, index: slice) -> "LazyFeatures": ...

    def __getitem__(self, index: int | slice) -> "FloatArray | LazyFeatures":
        """Return float32[T, D] of one video, read now, or a part of the sequence."""
        if isinstance(index, slice):
            return LazyFeatures(self.folder, self.ids[index])
        return self.folder.load(self.ids[index])


def open_features(folder: Path, recipe: FeatureRecipe | None = None) -> FeatureFolder:
    """Open a folder of features in any layout of `models.datasets.feature_layouts.Layout`.

    Args:
        folder: that holds them, or holds a folder ``features`` that does.
        recipe: that they are known to come from. A ``recipe.json`` in the folder says so itself;
            without either they are taken for the field's published I3D features.

    Raises:
        TrainingDataInvalid: the folder holds no features, mixes layouts, lacks a stream of a
            video, or its recipe or annotation arrays are malformed.
        RecipeMismatch: ``recipe.json`` states another recipe than the one given.
    """
    place, found = survey(folder, STREAM_NAMES)
    stated = _stated_recipe(folder) or _stated_recipe(place)
    if stated is not None and recipe is not None:
        require_same_recipe(recipe, stated)
    chosen = stated or recipe or EXTERNAL_I3D
    layout = found.layout(folder.name)
    if layout is Layout.OBJECT_ARRAY:
        return _open_object_array(place, found, chosen)
    files = video_files(folder.name, layout, found, chosen.streams)
    return FeatureFolder(place, layout, chosen, tuple(files), files)


def write_features(
    folder: Path, recipe: FeatureRecipe, video: str, values: NDArray[np.floating[Any]]
) -> Path:
    """Add one video to a folder of our own: ``recipe.json`` and ``<id>.npy``, each atomically.

    Args:
        folder: made where it is absent.
        recipe: of the features; the folder has one, stated when it is first written to.
        video: its id, which becomes a file name.
        values: floating[T, D], finite, T >= 1, kept as float32. What is there is replaced.

    Returns:
        The file.

    Raises:
        TrainingDataInvalid: the id cannot be a file name, or the values are not as above.
        RecipeMismatch: the folder holds features of another recipe or the width is another.
        DiskFull: there is no space; nothing is left behind.
    """
    unfit = not video or video.startswith(".") or len(video.encode()) > MAX_ID_BYTES
    if unfit or any(letter in video for letter in "/\\\0"):
        message = f"The id {video[:40]!r} cannot be a file name; use letters, digits, - and _."
        raise TrainingDataInvalid(message)
    checked = _checked(video, values, recipe.feature_width)
    stated = _stated_recipe(folder)
    if stated is not None:
        require_same_recipe(recipe, stated)
    else:
        text = json.dumps(recipe.to_json(), indent=2, sort_keys=True) + "\n"
        write_text_atomic(folder / RECIPE_FILE, text)
    file = io.BytesIO()
    np.save(file, np.ascontiguousarray(checked), allow_pickle=False)
    path = folder / f"{video}.npy"
    write_bytes_atomic(path, file.getvalue())
    return path


def _stated_recipe(folder: Path) -> FeatureRecipe | None:
    path = folder / RECIPE_FILE
    if not path.is_file():
        return None
    try:
        recipe = FeatureRecipe.from_json(json.loads(path.read_text(encoding="utf-8")))
        usable = set(recipe.streams) <= set(STREAM_NAMES) and recipe.feature_width > 0
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        message = f"{RECIPE_FILE} in {folder.name} is no feature recipe ({error}); write it again."
        raise TrainingDataInvalid(message) from error
    if not usable:
        message = f"{RECIPE_FILE} in {folder.name} names streams or widths that cannot be."
        raise TrainingDataInvalid(message)
    return recipe


def _open_object_array(place: Path, found: Found, recipe: FeatureRecipe) -> FeatureFolder:
    if len(found.objects) != 1:
        message = f"{place.name} holds {len(found.objects)} arrays of objects; keep one per folder."
        raise TrainingDataInvalid(message)
    arrays = read_object_array(found.objects[0])
    # The public repository has annotations of two lengths beside each other.
    fitting = {one: read_names(one) for one in found.annotations}
    fitting = {one: names for one, names in fitting.items() if arrays.shape == (len(names),)}
    if len(fitting) != 1:
        message = (
            f"{found.objects[0].name} holds features of shape {arrays.shape} and needs one folder "
            f"with a videoname.npy of that length beside it; found {len(fitting)} among "
            f"{len(found.annotations)}."
        )
        raise TrainingDataInvalid(message)
    annotations, names = next(iter(fitting.items()))
    subsets = read_subsets(annotations, len(names))
    files = {name: VideoFiles({}, subset) for name, subset in zip(names, subsets, strict=True)}
    return FeatureFolder(
        folder=place,
        layout=Layout.OBJECT_ARRAY,
        recipe=recipe,
        ids=tuple(sorted(names)),
        _files=files,
        _positions={name: index for index, name in enumerate(names)},
        _arrays=arrays,
    )


def _read(path: Path) -> NDArray[Any]:
    if path.suffix != ".csv":
        return read_plain_array(path)
    try:
        return _read_csv(path)
    except (OSError, ValueError) as error:
        message = f"{path.name} cannot be read ({reason_of(error)}); extract or fetch it again."
        raise TrainingDataInvalid(message) from error


def _read_csv(path: Path) -> NDArray[Any]:
    """Read a table with one row per snippet; a first line that is no numbers is a header.

    Source: mmaction2's ActivityNet features (``f0,f1,...`` above the numbers).
    """
    with path.open(encoding="utf-8-sig") as file:
        first = file.readline()
        try:
            [float(one) for one in first.split(",")]
            skipped = 0
        except ValueError:
            skipped = 1
    text = path.read_text(encoding="utf-8-sig")
    if len(text.splitlines()) <= skipped:
        return np.zeros((0, 0))
    return np.loadtxt(io.StringIO(text), delimiter=",", skiprows=skipped, ndmin=2)


def _checked(what: str, values: object, width: int) -> FloatArray:
    """Return float32[T, D], or refuse in one sentence."""
    if not isinstance(values, np.ndarray) or values.dtype.kind != "f":
        kind = values.dtype.str if isinstance(values, np.ndarray) else type(values).__name__
        message = f"The features of {what} are no floating-point numbers ({kind}); extract again."
        raise TrainingDataInvalid(message)
    if values.size == 0:
        message = f"The features of {what} are empty; extract them again or leave the video out."
        raise TrainingDataInvalid(message)
    if values.ndim != len(SHAPE_LETTERS):
        message = f"The features of {what} have shape {values.shape} instead of (snippets, width)."
        raise TrainingDataInvalid(message)
    if values.shape[1] != width:
        message = (
            f"The features of {what} are {values.shape[1]} wide, but the recipe asks for {width}; "
            f"state their recipe in {RECIPE_FILE}."
        )
        raise RecipeMismatch(message)
    # What is too large for float32 becomes infinite here, and is refused below.
    with np.errstate(over="ignore"):
        result = values.astype(np.float32, copy=False)
    if not np.isfinite(result).all():
        message = f"The features of {what} hold values that are not finite; extract them again."
        raise TrainingDataInvalid(message)
    return result


def _side_by_side(video: str, parts: Sequence[FloatArray]) -> FloatArray:
    lengths = [len(one) for one in parts]
    if max(lengths) - min(lengths) > 1:
        message = (
            f"The streams of {video} have {listed([str(one) for one in lengths])} snippets; they "
            "may differ by one at most, so extract them again."
        )
        raise TrainingDataInvalid(message)
    if max(lengths) != min(lengths):
        logger.info("stream_longer_by_one", extra={"video": video, "lengths": lengths})
    return np.concatenate([one[: min(lengths)] for one in parts], axis=1)
