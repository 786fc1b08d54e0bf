"""CleanNet: its network, losses, generator and stages against the equations spelled out."""

import time
from dataclasses import replace

import numpy as np
import pytest
import torch

from models.config import NmsSettings, settings_from_json, settings_to_json
from models.errors import Cancelled
from models.heads.base import HeadSpec, Moment
from models.heads.cleannet import ENTRY, CleanNetHead, CleanNetSettings
from models.heads.proposal_generator import (
    GeneratorShape,
    ProposalGenerator,
    ProposalTrunk,
    VideoNorm,
    anchor_intervals,
    decode,
    gather_linear,
)
from models.localize.contrast import contrast_scores
from models.localize.segments import localize_activations
from models.prediction import predict
from models.recipe import FeatureRecipe
from models.synthetic.planted import PlantedSettings, PlantedWorld
from models.training.holdout import HeldOutScore
from models.training.run import RunOptions
from models.training.tags import TaggedDataset
from models.training.train import TrainedHead, train_head
from models.types import FeatureSet, HeadProposals, Proposal

SPEC = HeadSpec(("a", "b", "c"), ("rgb", "flow"), 8)
NARROW = CleanNetSettings(width=16, anchors=(1, 2, 4))
CLASSIFY = Moment("classify", 1, 10, 0, 1, torch.tensor([0]))
GENERATE = Moment("generate", 1, 10, 0, 1, torch.tensor([0]))


def build(**changes):
    torch.manual_seed(0)
    return CleanNetHead(SPEC, replace(NARROW, **changes))


def in_stage(head, stage):
    head.start_stage(stage, None)
    return head.train()


def features_of(length, seed=0, batch=1):
    return torch.randn(batch, length, 16, generator=torch.Generator().manual_seed(seed))


def confident(head, features):
    """Make the judge see class 0 in snippets 8 to 15 and let every attention pass."""
    output = head(features)
    scoring = torch.full_like(output.scoring, 0.05)
    scoring[:, 8:16, 0] = 0.9
    evidence = {**output.evidence, "relative_attention": torch.ones(scoring.shape[:2])}
    return replace(output, scoring=scoring, evidence=evidence)


def softmax(x, axis):
    e = np.exp(x - x.max(axis=axis, keepdims=True))
    return e / e.sum(axis=axis, keepdims=True)


# Classification and attention


@pytest.mark.parametrize("temperature", [1.0, 3.0])
@pytest.mark.parametrize("fusion", ["probabilities", "logits"])
@pytest.mark.parametrize("video_loss", ["softmax_ce", "sigmoid_bce"])
def test_classification_follows_the_equations(temperature, fusion, video_loss):
    head = build(attention_temperature=temperature, fusion=fusion, video_loss=video_loss).eval()
    features = features_of(11)
    got = head(features)
    x = features[0].double().numpy()
    weight = head.classifier.weight[..., 0].detach().double().numpy()
    bias = head.classifier.bias.detach().double().numpy()
    rgb = x[:, :8] @ weight[:3, :8].T + bias[:3]
    flow = x[:, 8:] @ weight[3:, 8:].T + bias[3:]
    assert not weight[:3, 8:].any()
    assert not weight[3:, :8].any()

    def squash(z):
        return softmax(z, 1) if video_loss == "softmax_ce" else 1 / (1 + np.exp(-z))

    psi = squash((rgb + flow) / 2) if fusion == "logits" else (squash(rgb) + squash(flow)) / 2
    phi = x @ head.attention.weight[0, :, 0].detach().double().numpy()
    phi += head.attention.bias.item()
    w = softmax(phi / temperature, 0)
    assert got.scoring[0].detach().numpy() == pytest.approx(psi, abs=1e-5)
    assert got.video_scores[0].detach().numpy() == pytest.approx(w @ psi, abs=1e-5)
    relative = got.evidence["relative_attention"][0].detach().numpy()
    assert relative == pytest.approx(11 * w, abs=1e-4)
    assert got.attention[0].detach().numpy() == pytest.approx(11 * w / (1 + 11 * w), abs=1e-5)


def test_video_loss_is_cross_entropy_with_normalised_labels():
    head = in_stage(build(feature_dropout=0.0), "classify")
    labels = torch.tensor([[1.0, 0, 1], [0, 1, 0]])
    output = head(features_of(9, batch=2))
    loss, parts = head.loss(output, labels, CLASSIFY)
    x = output.video_scores.detach().numpy()
    wanted = -np.mean([(np.log(x[0, 0]) + np.log(x[0, 2])) / 2, np.log(x[1, 1])])
    assert loss.item() == pytest.approx(wanted, abs=1e-5)
    assert set(parts) == {"video"}


def test_sigmoid_loss_counts_videos_and_snippets_of_absent_classes():
    head = in_stage(build(feature_dropout=0.0, video_loss="sigmoid_bce"), "classify")
    labels = torch.tensor([[1.0, 0, 0]])
    output = head(features_of(9))
    loss, _ = head.loss(output, labels, CLASSIFY)
    x, psi = output.video_scores[0].detach().numpy(), output.scoring[0].detach().numpy()
    wanted = -np.log(x[0]) - np.log(1 - x[1:]).mean() - np.log(1 - psi[:, 1:]).mean()
    assert loss.item() == pytest.approx(wanted, abs=1e-4)


def test_streams_stay_apart_until_they_are_trained_jointly():
    labels = torch.tensor([[1.0, 0, 0]])
    for stage, moment, mixes in (("classify", CLASSIFY, False), ("generate", GENERATE, True)):
        head = in_stage(build(), stage)
        head.loss(head(features_of(20)), labels, moment)[0].backward()
        gradient = head.classifier.weight.grad
        assert gradient.abs().sum() > 0
        assert bool((gradient * (1 - head.blocks)).abs().sum() > 0) == mixes


def test_what_joint_training_mixed_counts_at_inference():
    head = build()
    with torch.no_grad():
        head.classifier.weight.add_(0.1)
    fresh, unmixed = build().eval(), build().eval()
    assert not torch.equal(unmixed(features_of(20)).scoring, head.eval()(features_of(20)).scoring)
    fresh.load_trained_state(head.trained_state())
    assert torch.equal(fresh(features_of(20)).scoring, head.eval()(features_of(20)).scoring)


# The generator


def test_published_sizes_have_the_published_number_of_parameters():
    spec = HeadSpec(tuple(map(str, range(20))), ("rgb", "flow"), 1024)
    head = CleanNetHead(spec, CleanNetSettings())
    assert head.generator is not None

    def size(part):
        return sum(one.numel() for one in part.parameters())

    count = {
        "class": size(head.classifier),
        "attention": size(head.attention),
        "generator": size(head.generator),
    }
    trunk = 2048 * 128 * 3 + 2 * 128 * 128 * 3 + 3 * 2 * 128
    assert count == {
        "class": 2048 * 40 + 40,
        "attention": 2049,
        "generator": trunk + 6 * (2 * 3 * 128 + 2),
    }


def test_decoding_moves_and_stretches_and_stays_in_the_video():
    regression = torch.zeros(1, 10, 1, 2)
    regression[0, 5, 0] = torch.tensor([0.5, np.log(2.0)])
    regression[0, 6, 0] = torch.tensor([0.0, 9.0])
    got = decode(regression, (4,), torch.tensor([10]))[0, :, 0]
    assert got[5].tolist() == pytest.approx([7.5 - 4, 10.0])
    assert got[6].tolist() == [0.0, 10.0]  # 4 e^2 is wider than the video
    assert got[4].tolist() == [2.5, 6.5]
    assert got[0].tolist() == [0.0, 2.5]
    assert torch.equal(anchor_intervals(10, (4,), torch.tensor([10]))[0, 4, 0], got[4])


def test_reading_between_snippets_agrees_with_interpolation():
    sequence = torch.randn(2, 9, 3, generator=torch.Generator().manual_seed(0))
    places = 14 * torch.rand(2, 9, 2, 4, generator=torch.Generator().manual_seed(1)) - 2
    got = gather_linear(sequence, places, torch.tensor([9, 6]))
    for row, length in enumerate((9, 6)):
        for channel in range(3):
            wanted = np.interp(
                places[row].numpy(), np.arange(length) + 0.5, sequence[row, :length, channel]
            )
            assert got[row, ..., channel].numpy() == pytest.approx(wanted, abs=1e-5)


def test_samples_lie_one_in_each_part_of_the_anchor():
    generator = ProposalGenerator(16, GeneratorShape(8, (2, 9), 3, "group", 8, "tsn"))
    lengths = torch.tensor([30])
    middle = generator.eval()._places(lengths, 30)
    assert middle[0, 10, 1].tolist() == pytest.approx([7.5, 10.5, 13.5])
    torch.manual_seed(0)
    drawn = torch.stack([generator.train()._places(lengths, 30)[0] for _ in range(200)])
    share = (drawn[:, 10, 1] - 6.0) / 3  # of the parts of [6, 15)
    for part in range(3):
        assert part <= share[:, part].min() < part + 0.1
        assert part + 0.9 < share[:, part].max() <= part + 1
    center = ProposalGenerator(16, GeneratorShape(8, (2, 9), 3, "group", 8, "center")).train()
    assert center._places(lengths, 30)[0, 10].flatten().tolist() == [10.5, 10.5]


def test_regression_is_a_kernel_over_the_samples_of_each_size():
    generator = ProposalGenerator(16, GeneratorShape(8, (2, 9), 3, "group", 8, "tsn")).eval()
    with torch.no_grad():
        generator.weight.normal_(std=0.1)
        generator.bias.normal_(std=0.1)
        features, mask = features_of(20), torch.ones(1, 20, dtype=torch.bool)
        got = generator(features, mask)[0]
        trunk = generator.trunk(features, mask)[0].numpy()
    for t, anchor in ((3, 0), (11, 1)):
        size = (2, 9)[anchor]
        points = [t + 0.5 + size * ((k + 0.5) / 3 - 0.5) for k in range(3)]
        read = [[np.interp(p, np.arange(20) + 0.5, trunk[:, d]) for d in range(8)] for p in points]
        flat = np.array(read).ravel()
        r_c, r_w = (
            generator.weight[anchor].detach().numpy() @ flat
            + generator.bias[anchor].detach().numpy()
        )
        centre, length = t + 0.5 + size * r_c, size * np.exp(np.clip(r_w, -2, 2))
        wanted = np.clip([centre - length / 2, centre + length / 2], 0, 20)
        assert got[t, anchor].detach().numpy() == pytest.approx(wanted, abs=1e-4)


def test_first_proposals_are_nearly_the_anchors():
    head = build(width=128).eval()
    got = head(features_of(60)).evidence["proposals"]
    anchors = anchor_intervals(60, NARROW.anchors, torch.tensor([60]))
    assert (got - anchors).abs().max() < 4
    assert (got - anchors).abs().mean() < 0.6


@pytest.mark.parametrize("norm", ["group", "batch"])
def test_padding_never_reaches_the_trunk(norm):
    torch.manual_seed(0)
    trunk = ProposalTrunk(16, GeneratorShape(16, (1,), 3, norm, 8, "tsn"))
    loud = torch.full((2, 12, 16), 1e3)
    loud[0], loud[1, :5] = features_of(12)[0], features_of(5, 1)[0]
    mask = torch.ones(2, 12, dtype=torch.bool)
    mask[1, 5:] = False
    quiet = loud.masked_fill(~mask[..., None], 0.0)
    assert torch.equal(trunk(loud, mask), trunk(quiet, mask))
    assert not trunk(loud, mask)[1, 5:].any()
    trunk.eval()
    alone = trunk(features_of(5, 1), torch.ones(1, 5, dtype=torch.bool))
    torch.testing.assert_close(trunk(loud, mask)[1, :5], alone[0])


def test_group_norm_agrees_with_torch_where_nothing_is_padded():
    trunk = ProposalTrunk(16, GeneratorShape(16, (1,), 3, "group", 8, "tsn"))
    sequence, norm = features_of(10, batch=2), trunk.norms[0]
    assert isinstance(norm, VideoNorm)
    torch.nn.init.normal_(norm.layer.weight)
    got = norm(sequence, torch.ones(2, 10, dtype=torch.bool))
    torch.testing.assert_close(got, norm.layer(sequence.transpose(1, 2)).transpose(1, 2))


# The second stage


def test_regression_loss_rewards_positive_proposals_of_tagged_classes():
    head = in_stage(build(joint=False), "generate")
    output = confident(head, features_of(24))
    labels = torch.tensor([[1.0, 0, 0]])
    loss, parts = head.loss(output, labels, GENERATE)
    psi = output.scoring[0].double().numpy()
    scores = []
    for t in range(8, 16):  # the only snippets whose class activation passes the gate
        intervals = output.evidence["proposals"][0, t].detach().double().numpy()
        scores += contrast_scores(psi, intervals, np.zeros(3, np.int64), NARROW.contrast).tolist()
    positive = [one for one in scores if one > 0.5]
    assert 0 < len(positive) < len(scores)
    assert loss.item() == pytest.approx(np.mean([2 - one for one in positive]), abs=1e-5)
    assert set(parts) == {"regression"}
    wide = in_stage(build(joint=False, reward_margin=3.0), "generate")
    assert wide.loss(output, labels, GENERATE)[0].item() == pytest.approx(loss.item() + 1, abs=1e-5)


def test_gates_need_class_and_attention():
    head = build().eval()
    output = confident(head, features_of(24))
    assert head.gates(output)[0, :, 0].nonzero()[:, 0].tolist() == list(range(8, 16))
    assert not head.gates(output)[0, :, 1:].any()
    output.evidence["relative_attention"][0, :10] = 0.49
    assert head.gates(output)[0, :, 0].nonzero()[:, 0].tolist() == list(range(10, 16))


def test_joint_training_looks_only_at_covered_snippets():
    head = in_stage(build(), "generate")
    features, labels = features_of(24), torch.tensor([[1.0, 0, 0]])
    output = confident(head, features)
    _, parts = head.loss(output, labels, GENERATE)
    psi = output.scoring[0].double().numpy()
    inside = np.zeros(24, bool)
    for t in range(8, 16):
        for start, end in output.evidence["proposals"][0, t].tolist():
            score = contrast_scores(
                psi, np.array([[start, end]]), np.zeros(1, np.int64), NARROW.contrast
            )
            if score[0] > 0.5:
                inside |= (np.arange(24) + 0.5 >= start) & (np.arange(24) + 0.5 < end)
    assert 0 < inside.sum() < 24
    assert parts["video"].item() == pytest.approx(-np.log(psi[inside, 0].mean()), abs=1e-5)


@pytest.mark.parametrize("video_loss", ["softmax_ce", "sigmoid_bce"])
@pytest.mark.parametrize("length", [1, 2, 30])
def test_no_labels_no_features_and_single_snippets_do_no_harm(video_loss, length):
    for stage, moment in (("classify", CLASSIFY), ("generate", GENERATE)):
        for mode in ("generator", "plain"):
            head = in_stage(build(video_loss=video_loss, mode=mode), stage)
            output = head(torch.zeros(2, length, 16))
            loss, parts = head.loss(output, torch.zeros(2, 3), moment)
            assert torch.isfinite(loss)
            assert float(parts.get("regression", torch.zeros(()))) == 0.0
            if loss.requires_grad:
                loss.backward()
                found = [p.grad for p in head.parameters() if p.grad is not None]
                assert all(bool(torch.isfinite(one).all()) for one in found)


def test_each_stage_trains_its_own_parameters():
    labels = torch.tensor([[1.0, 0, 0]])
    head = in_stage(build(), "classify")
    head.loss(head(features_of(24)), labels, CLASSIFY)[0].backward()
    trained = {id(p) for p in head.stage_parameters("classify")}
    for parameter in head.parameters():
        has_gradient = parameter.grad is not None
        assert has_gradient == (id(parameter) in trained)
    for joint in (False, True):
        head = in_stage(build(joint=joint, class_gate=0.0, attention_gate=0.0), "generate")
        output = head(features_of(24))
        scoring = output.scoring * 0.0 + confident(head, features_of(24)).scoring
        parts = head.loss(replace(output, scoring=scoring), labels, GENERATE)[1]
        parts["regression"].backward()
        # The judge gives no gradient to itself, the generator gets one everywhere.
        assert head.classifier.weight.grad is None
        assert head.attention.weight.grad is None
        for parameter in head.generator.parameters():
            assert torch.isfinite(parameter.grad).all()
            assert parameter.grad.abs().sum() > 0
        count = len(head.stage_parameters("generate"))
        assert count == len(list(head.generator.parameters())) + (4 if joint else 0)


def test_plain_mode_proposes_anchors_and_learns_nothing_in_the_second_stage():
    plain = build(mode="plain")
    assert plain.generator is None
    loss, _ = plain.loss(in_stage(plain, "generate")(features_of(9)), torch.ones(1, 3), GENERATE)
    assert not loss.requires_grad
    # Both modes start from the same judge and leave the same random state.
    full = build()
    assert torch.equal(plain.classifier.weight, full.classifier.weight)
    build(mode="plain")
    after_plain = torch.rand(3)
    build()
    assert torch.equal(after_plain, torch.rand(3))


def test_proposals_are_scored_by_the_reference():
    for changes in ({}, {"mode": "plain"}, {"keep_anchors": True}):
        head = build(class_gate=0.0, attention_gate=0.0, keep_above=-9.0, **changes).eval()
        features = features_of(30)
        with torch.no_grad():
            output = head(features)
            own = head.propose(output)[0]
        sizes = 6 if changes.get("keep_anchors") else 3
        assert len(own.steps) == 30 * 3 * sizes
        psi = output.scoring[0].numpy()
        wanted = contrast_scores(psi, own.steps, own.class_index, NARROW.contrast)
        assert own.raw_scores == pytest.approx(wanted, abs=1e-6)
        assert own.steps.min() >= 0
        assert own.steps.max() <= 30


def test_what_is_scored_zero_or_less_is_not_handed_on():
    head = build(class_gate=0.0, attention_gate=0.0).eval()
    kept = head.activations(features_of(30)[0]).proposals
    assert kept is not None
    assert (kept.raw_scores > 0).all()


# Presets


def test_presets_hold_the_published_values():
    thumos, anet = THUMOS14, ACTIVITYNET
    assert [one.name for one in ENTRY.presets] == ["small", "thumos14", "activitynet1.3"]
    head = thumos.head
    assert isinstance(head, CleanNetSettings)
    facts = (head.anchors, head.points, head.feature_dropout, head.positive_score, head.width)
    assert facts == ((1, 2, 4, 8, 16, 32), 3, 0.8, 0.5, 128)
    assert (head.class_gate, head.attention_gate, head.reward_margin) == (0.1, 0.5, 2.0)
    assert (head.regression_weight, head.video_weight, head.attention_temperature) == (1, 1, 1)
    assert (head.mode, head.joint, head.video_loss, head.class_kernel, head.keep_anchors) == (
        "generator", True, "softmax_ce", 1, False,
    )  # fmt: skip
    assert (head.contrast.window, head.contrast.margin_ratio) == (7, 0.25)
    for preset in (thumos, anet):
        one, two = preset.stages
        assert (one.stage, one.steps, one.batch_size, one.num_snippets) == (
            "classify", 3000, 16, 750,
        )  # fmt: skip
        assert (one.sampling, one.optimizer, one.learning_rate) == ("perturb", "adam", 1e-4)
        assert (one.weight_decay, two.weight_decay, one.standardize) == (5e-4, 5e-4, False)
        assert (two.stage, two.optimizer, two.learning_rate) == ("generate", "sgd", 1e-4)
        assert (two.momentum, two.batch_size, two.sampling) == (0.9, 1, "full")
        cuts = preset.proposals
        assert (cuts.source, cuts.class_threshold, cuts.allow_empty) == ("head", 0.1, False)
        assert cuts.nms == NmsSettings(kind="hard", threshold=0.4, plus_one=False)
        assert (cuts.min_raw_score, cuts.max_per_class) == (0.0, 200)
        assert preset.inference.sampling == "native"
    assert (thumos.stages[1].num_steps(200), thumos.stages[1].decay_every) == (600, 200)
    assert (anet.stages[1].num_steps(9032), anet.stages[1].decay_every) == (9032, 1500)
    assert isinstance(anet.head, CleanNetSettings)
    assert anet.head.anchors == (16, 32, 64, 128, 256, 512)
    for preset in ENTRY.presets:
        again = settings_from_json(CleanNetSettings, settings_to_json(preset.head))
        assert again == preset.head


# Training and use


@pytest.fixture
def one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def planted(count, seed=0):
    settings = PlantedSettings(stream_width=16, num_classes=3, max_snippets=90)
    videos = PlantedWorld(settings, seed).videos(count)
    recipe = FeatureRecipe(name="planted", stream_width=16)
    return TaggedDataset(
        tuple(f"v{index}" for index in range(count)),
        [one.features for one in videos],
        np.stack([one.labels for one in videos]),
        ("a", "b", "c"),
        recipe,
    )


SMALL, THUMOS14, ACTIVITYNET = ENTRY.presets


def short_preset(steps=(6, 6), **head):
    small, own = SMALL, SMALL.head
    assert isinstance(own, CleanNetSettings)
    stages = tuple(
        replace(stage, steps=count, num_snippets=32)
        for stage, count in zip(small.stages, steps, strict=True)
    )
    return replace(small, head=replace(own, width=16, **head), stages=stages)


@pytest.mark.usefixtures("one_thread")
def test_the_second_stage_moves_the_generator_and_leaves_the_judge_alone():
    dataset = planted(10)
    before = train_head(dataset, "cleannet", short_preset((20, 1)), seed=1).head.state_dict()
    after = train_head(dataset, "cleannet", short_preset((20, 12)), seed=1).head.state_dict()
    again = train_head(dataset, "cleannet", short_preset((20, 12)), seed=1).head.state_dict()
    assert all(torch.equal(after[name], again[name]) for name in after)
    for name in after:
        assert torch.equal(before[name], after[name]) == (not name.startswith("generator."))
    plain = train_head(dataset, "cleannet", short_preset((20, 1), mode="plain"), seed=1).head
    assert torch.equal(plain.state_dict()["classifier.weight"], after["classifier.weight"])


def test_of_checkpoints_that_tags_cannot_tell_apart_the_later_is_chosen():
    # The second stage leaves the video scores alone; the first of equals would be half trained.
    assert HeldOutScore(0.5, 0.2).better_than(HeldOutScore(0.5, 0.2))
    assert not HeldOutScore(0.5, 0.3).better_than(HeldOutScore(0.5, 0.2))


@pytest.mark.usefixtures("one_thread")
@pytest.mark.parametrize("stop_at", [4, 9])
def test_a_stopped_run_goes_on_as_if_nothing_had_happened(tmp_path, stop_at):
    dataset, preset = planted(8), short_preset(joint=True)
    whole = train_head(dataset, "cleannet", preset, seed=3)
    asked = iter(range(1, 100))
    options = RunOptions(folder=tmp_path, should_stop=lambda: next(asked) == stop_at)
    with pytest.raises(Cancelled):
        train_head(dataset, "cleannet", preset, seed=3, run=options)
    resumed = train_head(
        dataset, "cleannet", preset, seed=3, run=RunOptions(folder=tmp_path, resume=True)
    )
    one, other = whole.head.state_dict(), resumed.head.state_dict()
    assert all(torch.equal(one[name], other[name]) for name in one)


def test_a_long_video_gets_proposals_on_its_whole_sequence_and_quickly():
    recipe = FeatureRecipe(name="planted", stream_width=8)
    classes = tuple(map(str, range(20)))
    torch.manual_seed(0)
    head = CleanNetHead(HeadSpec.for_recipe(classes, recipe), NARROW).eval()
    small = SMALL
    # Ten minutes in which each of 20 classes shows up in turn.
    rng = np.random.default_rng(0)
    psi = (0.05 * rng.random((938, 20))).astype(np.float32)
    for place in range(4, 920, 20):
        psi[place : place + int(rng.integers(3, 18)), rng.integers(0, 20)] += 0.8
    duration = 938 * 0.64
    features = FeatureSet(
        np.zeros((938, 16), np.float32),
        recipe.grid(duration).snippet_seconds(),
        recipe.digest,
        duration,
    )

    zeros, ones = np.zeros(16, np.float32), np.ones(16, np.float32)
    nobody = np.zeros(0, np.int64)
    known = TrainedHead(head, "cleannet", recipe, zeros, ones, small, 0, nobody, nobody, 0)
    activations = predict(known, features)
    assert activations.window_scores is not None
    starts, sizes = np.meshgrid(np.arange(938) + 0.5, [1, 2, 4, 8, 16, 32], indexing="ij")
    steps = np.stack([starts - sizes / 2, starts + sizes / 2], -1).clip(0, 938)
    t, c = (psi >= 0.1).nonzero()
    own = HeadProposals(
        class_index=np.repeat(c, 6),
        steps=steps[t].reshape(-1, 2),
        raw_scores=np.zeros(6 * len(t)),
    )
    full = replace(
        activations, localization=psi, scoring=psi, video_scores=psi.max(axis=0), proposals=own,
        window_scores=None,
    )  # fmt: skip
    seconds: list[float] = []
    found: list[Proposal] = []
    for _ in range(5):
        started = time.process_time()  # other programs' turns do not count
        found = localize_activations(full, recipe.grid(duration), small.proposals)
        seconds.append(time.process_time() - started)
    assert len({one.class_index for one in found}) > 15
    assert max(one.end_seconds for one in found) > 500
    assert min(seconds) < 0.05


def test_a_single_class_is_told_from_nothing():
    spec = HeadSpec(("fight",), ("rgb", "flow"), 4)
    head = CleanNetHead(spec, CleanNetSettings(width=8)).eval()
    got = head.activations(20 * torch.randn(30, spec.feature_width))
    assert got.localization.std() > 0.01
    assert got.localization.min() < 0.5 < got.localization.max()
    assert 0 < got.video_scores[0] < 1
