"""The head in models/README.md does what the page says: it is cut out of it and trained."""

import re
import sys
import types
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from bench.planted import shortened
from models.config import TrainingSettings
from models.heads import registry
from models.heads.base import HeadSpec
from models.heads.registry import build_head
from models.recipe import FeatureRecipe
from models.synthetic.planted import PlantedSettings, PlantedWorld
from models.training.tags import TaggedDataset
from models.training.train import train_head

PAGE = Path(__file__).resolve().parents[1] / "README.md"


@pytest.fixture
def linear(monkeypatch):
    (code,) = re.findall(r"```python\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)
    module = types.ModuleType("models.heads.linear")
    monkeypatch.setitem(sys.modules, module.__name__, module)
    exec(compile(code, "README.md", "exec"), module.__dict__)  # noqa: S102 - our own page
    monkeypatch.setitem(registry.HEADS, "linear", module.ENTRY)
    return module.ENTRY


def test_the_head_of_the_page_learns(linear):
    settings = PlantedSettings(num_classes=3, stream_width=64)
    videos = PlantedWorld(settings, 0).videos(20)
    labels = np.stack([one.labels for one in videos])
    dataset = TaggedDataset(
        ids=tuple(map(str, range(20))),
        features=[one.features for one in videos],
        labels=labels,
        classes=("a", "b", "c"),
        recipe=FeatureRecipe(name="planted", stream_width=64),
    )
    preset = replace(linear.preset("small"), stages=(TrainingSettings(steps=150, log_every=10),))
    trained = train_head(dataset, "linear", preset, 0)
    losses = [record["loss"] for record in trained.log]
    assert np.mean(losses[-3:]) < 0.7 * np.mean(losses[:3])


def test_the_head_of_the_page_keeps_padding_out(linear):
    head = build_head("linear", HeadSpec(("a", "b"), ("rgb", "flow"), 4)).eval()
    features = torch.full((1, 9, 8), 1e3)
    features[0, :5] = torch.randn(5, 8)
    mask = torch.arange(9)[None] < 5
    with torch.no_grad():
        padded, alone = head(features, mask), head(features[:, :5])
    torch.testing.assert_close(padded.video_scores, alone.video_scores)


@pytest.mark.parametrize("method", sorted(registry.PRESETS))
def test_every_head_fits_the_planted_bench(method):
    preset = shortened(registry.PRESETS[method]["small"], dict(registry.HEADS[method].plain))
    build_head(method, HeadSpec(("a", "b"), ("rgb", "flow"), 4), preset.head)
    assert sum(stage.steps for stage in preset.stages) <= 300


def test_the_head_of_the_page_fits_the_planted_bench(linear):
    assert shortened(linear.preset("small"), {}).head == linear.settings()
