"""ISSF: what its memory of classes holds, and that runs with it can be resumed."""

import math
from dataclasses import replace

import numpy as np
import pytest
import torch

from models.errors import Cancelled
from models.heads.registry import PRESETS
from models.recipe import FeatureRecipe
from models.synthetic.planted import PlantedSettings, PlantedWorld
from models.tests.issf_scene import (
    LABELS,
    LATE,
    LENGTHS,
    PLAIN,
    WARM,
    Videos,
    filled,
    moment,
    published,
    scene,
)
from models.training.tags import TaggedDataset
from models.training.train import RunOptions, train_head


def test_memory_is_filled_once_at_the_end_of_warm_up_with_the_best_salient_snippets():
    head, features, _ = scene(PLAIN)
    videos = Videos([features[row, :length] for row, length in enumerate(LENGTHS)], LABELS)
    for epoch in (0, 99, 101):
        head.start_epoch(moment(epoch), videos)
        assert not head.memory.filled.any()
    head.start_epoch(moment(100), videos)
    assert head.training
    head.eval()
    for label, row in ((0, 0), (1, 1), (2, 0)):
        found = head(features[row : row + 1, : LENGTHS[row]]).evidence
        rows = found["clean"][0][found["salient"][0]]
        scores = torch.softmax(head.predict.classify(rows), -1)[:, label]
        best = scores.argsort(descending=True)[:5]
        torch.testing.assert_close(head.memory.features[label], rows[best])
        torch.testing.assert_close(head.memory.scores[label], scores[best])
    assert head.memory.filled.all()


def test_momentum_moves_each_rank_by_the_share_of_the_epoch():
    settings = replace(PLAIN, memory="momentum")
    head, features, mask = filled(settings)
    before = head.memory.features.clone()
    output = head(features, mask)
    head.after_batch(output, LABELS, moment(LATE))
    eta = 0.5 * math.log(math.exp(LATE / 180) + 1)
    rows = output.evidence["clean"][1][output.evidence["salient"][1]]
    scores = torch.softmax(head.predict.classify(rows), -1)[:, 1]
    new = rows[scores.argsort(descending=True)[:5]]
    torch.testing.assert_close(head.memory.features[1], (1 - eta) * before[1] + eta * new)
    head.after_batch(output, LABELS, moment(WARM))  # nothing happens in warm-up
    torch.testing.assert_close(head.memory.features[1], (1 - eta) * before[1] + eta * new)


def test_few_salient_snippets_repeat_and_direct_replaces():
    head, _, _ = filled(replace(PLAIN, memory="direct"))
    output = head(torch.rand(1, 4, 12))
    head.after_batch(output, torch.tensor([[0.0, 1.0, 0.0]]), moment(LATE))
    rows = output.evidence["clean"][0][output.evidence["salient"][0]]
    assert len(rows) == 2
    scores = torch.softmax(head.predict.classify(rows), -1)[:, 1]
    new = rows[scores.argsort(descending=True)]
    torch.testing.assert_close(head.memory.features[1], new[[0, 1, 0, 1, 0]])


def test_rskp_keeps_the_best_prototypes_for_ever():
    head, features, mask = filled(replace(PLAIN, refine="rskp"))
    old = list(zip(head.memory.scores[0].tolist(), head.memory.features[0].clone(), strict=True))
    output = head(features, mask)
    head.after_batch(output, LABELS, moment(LATE))
    found = output.evidence["prototypes"][0]
    scores = torch.softmax(head.predict.classify(found), -1)[:, 0]
    pool = old + list(zip(scores.tolist(), found, strict=True))
    best = sorted(pool, key=lambda one: -one[0])[:5]
    assert head.memory.scores[0].tolist() == pytest.approx([one[0] for one in best])
    torch.testing.assert_close(head.memory.features[0], torch.stack([one[1] for one in best]))


def test_a_class_without_videos_is_not_remembered():
    head, features, mask = scene(PLAIN)
    labels = torch.tensor([[1.0, 0, 0], [0, 1, 0], [0, 0, 0]])
    head.start_epoch(moment(100), Videos([features[row] for row in range(3)], labels))
    assert head.memory.filled.any(dim=1).tolist() == [True, True, False]
    stored, members = head.memory.recall(torch.tensor([[0.0, 0, 1], [1, 0, 1]]))
    assert stored.shape == (1, 10, 8)
    assert members.sum(dim=1).tolist() == [0, 5]
    output = head(features, mask)
    only_new = torch.tensor([[0.0, 0, 1]] * 3)
    assert torch.isfinite(head.loss(output, only_new, moment(LATE))[0])
    head.after_batch(output, only_new, moment(LATE))
    assert head.memory.filled.all()


def planted():
    settings = PlantedSettings(num_classes=3, stream_width=8, min_snippets=45, max_snippets=60)
    videos = PlantedWorld(settings, 0).videos(12)
    return TaggedDataset(
        ids=tuple(f"v{index}" for index in range(12)),
        features=[one.features for one in videos],
        labels=np.stack([one.labels for one in videos]),
        classes=("a", "b", "c"),
        recipe=FeatureRecipe(name="planted", stream_width=settings.stream_width),
    )


def short(**head):
    small = PRESETS["issf"]["small"]
    training = replace(small.training, steps=24, batch_size=4, log_every=6)
    settings = replace(published("small"), width=8, dropout=0.3, **head)
    return replace(small, head=settings, stages=(training,))


class StopAfter:
    """Answers True once, after so many questions."""

    def __init__(self, questions):
        self.left = questions

    def __call__(self):
        self.left -= 1
        return self.left == 0


@pytest.mark.parametrize("options", [{}, {"refine": "rskp"}, {"saliency": "random"}])
def test_a_resumed_run_gives_the_same_weights(tmp_path, options):
    data, settings = planted(), short(**options)
    whole = train_head(data, "issf", settings, 3)
    assert whole.head.state_dict()["memory.filled"].all()
    for stop_at in (10, 17):  # in warm-up, and between two epochs that use the memory
        run = RunOptions(folder=tmp_path, resume=True)
        with pytest.raises(Cancelled):
            train_head(data, "issf", settings, 3, run=replace(run, should_stop=StopAfter(stop_at)))
        resumed = train_head(data, "issf", settings, 3, run=run)
        state = resumed.head.state_dict()
        for name, value in whole.head.state_dict().items():
            assert torch.equal(value, state[name]), name
    other = train_head(data, "issf", settings, 4).head.state_dict()
    weight = "embedding.conv.weight"
    assert not torch.equal(other[weight], whole.head.state_dict()[weight])
