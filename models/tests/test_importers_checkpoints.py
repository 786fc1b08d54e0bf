"""Published checkpoints become models whole, or are refused with one sentence."""

import io
import json
import math
import os
import pickle
import zipfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from typer.testing import CliRunner

from models.catalog import CATALOG
from models.cli import app
from models.commands.catalog import IMPORT_NAMES
from models.datasets.thumos import THUMOS14_CLASSES
from models.errors import ModelUnknown, WeightsInvalid, WeightsMissing
from models.heads.base import HeadSpec
from models.heads.published_stpn import StpnHead, StpnSettings
from models.importers.classes import read_classes
from models.importers.importing import ImportRequest, import_checkpoint, import_published
from models.importers.keymap import KeyRule
from models.importers.plan import EXTERNAL_I3D
from models.importers.sources import SOURCES
from models.localize.proposals import runs_above
from models.localize.segments import localize_activations
from models.modelcard import load_model
from models.pipeline import with_weights
from models.prediction import predict
from models.types import FeatureSet
from models.weights import read_checkpoint

CLASSES = ("a", "b", "c")
SMALL = {
    "stream": 8,
    "hidden": 6,
    "embed": 8,
    "width": 8,
    "branch": 6,
    "attention": 6,
    "branches": 2,
    "prototypes": 3,
}
TORCH_SOURCES = sorted(name for name, one in SOURCES.items() if one.container == "torch")
# Source: counted in the authors' code, for 20 classes.
PUBLISHED_VALUES = {
    "aicl": 6_304_278,
    "rskp": 4_257_792,
    "basnet": 26_262_529,
    "acmnet": 12_634_136,
    "asl": 2_109_974,
    "cola": 12_625_920,
}


def rules_of(name, num_files=1, widths=None, num_classes=3) -> tuple[list[KeyRule], ...]:
    source = SOURCES[name]
    return source.plan(num_classes, [{}] * num_files, widths or source.widths).rules


def state_of(name, num_files=1) -> list[dict[str, torch.Tensor]]:
    """Return random checkpoints of one source, small."""
    torch.manual_seed(0)
    return [
        {rule.source: torch.randn(rule.shape) for rule in rules}
        for rules in rules_of(name, num_files, SMALL)
    ]


def write(folder, name, states):
    key = SOURCES[name].state_key
    files = []
    for index, state in enumerate(states):
        files.append(folder / f"{index}.pth")
        torch.save({key: state} if key else state, files[-1])
    return tuple(files)


def request_of(source, files, **changes):
    return replace(ImportRequest(source, tuple(files), "m", CLASSES, SMALL), **changes)


def run(model, num_snippets=12):
    """Run a loaded model over random features and decode."""
    rng = np.random.default_rng(0)
    values = rng.random((num_snippets, model.recipe.feature_width), dtype=np.float32)
    recipe = model.recipe
    grid = recipe.grid(num_snippets * recipe.stride_frames / recipe.fps)
    features = FeatureSet(values, np.zeros((num_snippets, 2)), recipe.digest, grid.duration_seconds)
    seen = predict(model, features)
    found = localize_activations(seen, grid, replace(model.card.proposals, class_threshold=0.0))
    return seen, found


def test_the_command_names_every_source():
    assert IMPORT_NAMES.split(", ") == sorted(IMPORT_NAMES.split(", "), key=IMPORT_NAMES.index)
    assert set(IMPORT_NAMES.split(", ")) == set(SOURCES)


@pytest.mark.parametrize("name", sorted(PUBLISHED_VALUES))
def test_published_shapes_hold_as_many_values_as_the_networks(name):
    (rules,) = rules_of(name, num_classes=20)
    assert sum(math.prod(rule.shape) for rule in rules) == PUBLISHED_VALUES[name]


@pytest.mark.parametrize(
    ("name", "num_files"), [(name, n) for name in TORCH_SOURCES for n in SOURCES[name].num_files]
)
def test_a_checkpoint_is_imported_saved_loaded_and_run(name, num_files, tmp_path):
    states = state_of(name, num_files)
    files = write(tmp_path, name, states)
    imported = import_published(request_of(name, files), tmp_path / "models")
    assert {(one.file, one.source) for one in imported.report} == {
        (file.name, key) for file, state in zip(files, states, strict=True) for key in state
    }
    targets = [one.target for one in imported.report if one.target]
    assert sorted(targets) == sorted(imported.head.trained_state())
    model = load_model(tmp_path / "models" / "m")
    assert model.card.licence == SOURCES[name].licence
    assert model.card.training["imported_from"] == name
    assert SOURCES[name].origin in model.card.notes[0]
    for key, value in imported.head.trained_state().items():
        torch.testing.assert_close(model.head.trained_state()[key], value)
    seen, found = run(model)
    assert np.isfinite(seen.localization).all()
    assert found or name == "rskp"  # random cosines need not pass a cut


@pytest.mark.parametrize("name", TORCH_SOURCES)
@pytest.mark.parametrize("change", ["missing", "extra", "shape"])
def test_partial_matches_are_refused(name, change, tmp_path):
    states = state_of(name)
    key = sorted(states[0])[0]
    if change == "missing":
        del states[0][key]
    elif change == "extra":
        states[0]["more"] = torch.zeros(2)
        key = "more"
    else:
        states[0][key] = torch.zeros(*states[0][key].shape, 2)
    files = write(tmp_path, name, states)
    with pytest.raises(
        WeightsInvalid, match=rf"no checkpoint of {name}: .*{key}|classes"
    ) as caught:
        import_checkpoint(request_of(name, files))
    assert "\n" not in str(caught.value)


def test_a_checkpoint_of_another_method_is_refused(tmp_path):
    files = write(tmp_path, "asl", state_of("asl"))
    with pytest.raises(WeightsInvalid, match="no checkpoint of aicl"):
        import_checkpoint(request_of("aicl", files))


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (torch.tensor([float("nan")]), "not finite"),
        (torch.tensor([float("inf")]), "not finite"),
        (torch.zeros(1, dtype=torch.float16), "float16"),
        (torch.zeros(1, dtype=torch.int64), "int64"),
        (torch.zeros(1).to_sparse(), "plain float32"),
        (torch.zeros(1).expand(100_000, 100_000), "larger than its own bytes"),
        ("text", "no plain table"),
    ],
)
def test_tensors_that_are_not_plain_are_refused(value, message, tmp_path):
    path = tmp_path / "a.pth"
    torch.save({"weight": value}, path)
    with pytest.raises(WeightsInvalid, match=message):
        read_checkpoint(path)


class _Runs:
    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return os.system, (f"touch {self.path}",)


@pytest.mark.parametrize("new_format", [True, False])
def test_code_in_a_pickle_is_not_run(new_format, tmp_path):
    path, mark = tmp_path / "a.pth", tmp_path / "mark"
    torch.save({"weight": _Runs(mark)}, path, _use_new_zipfile_serialization=new_format)
    with pytest.raises(WeightsInvalid, match="something else than weights"):
        read_checkpoint(path)
    path.write_bytes(pickle.dumps(_Runs(mark)))
    with pytest.raises(WeightsInvalid):
        read_checkpoint(path)
    assert not mark.exists()


def test_a_zip_bomb_is_refused_unread(tmp_path):
    path = tmp_path / "a.pth"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("archive/data.pkl", b"\0" * 50_000_000)
    assert path.stat().st_size < 100_000
    with pytest.raises(WeightsInvalid, match="packed"):
        read_checkpoint(path)


@pytest.mark.parametrize("new_format", [True, False])
def test_truncated_files_are_refused(new_format, tmp_path):
    whole = io.BytesIO()
    torch.save(state_of("aicl")[0], whole, _use_new_zipfile_serialization=new_format)
    content = whole.getvalue()
    path = tmp_path / "a.pth"
    for length in [0, 1, 3, 10, *range(64, len(content) - 1, len(content) // 40)]:
        path.write_bytes(content[:length])
        with pytest.raises(WeightsInvalid):
            read_checkpoint(path)


@pytest.mark.parametrize("new_format", [True, False])
def test_flipped_bytes_are_read_or_refused(new_format, tmp_path):
    whole = io.BytesIO()
    torch.save(state_of("asl")[0], whole, _use_new_zipfile_serialization=new_format)
    content = whole.getvalue()
    path = tmp_path / "a.pth"
    rng = np.random.default_rng(0)
    refused = 0
    for place in rng.integers(0, len(content), 200):
        damaged = bytearray(content)
        damaged[place] ^= int(rng.integers(1, 256))
        path.write_bytes(bytes(damaged))
        try:
            read_checkpoint(path)
        except WeightsInvalid:
            refused += 1
    assert refused > 0


def test_missing_files_and_wrong_requests_are_named(tmp_path):
    files = write(tmp_path, "aicl", state_of("aicl"))
    with pytest.raises(WeightsMissing, match=r"no file gone\.pth"):
        import_checkpoint(request_of("aicl", [tmp_path / "gone.pth"]))
    with pytest.raises(ModelUnknown, match="known are: aicl"):
        import_checkpoint(request_of("nonsense", files))
    with pytest.raises(WeightsInvalid, match="1 files, and 2 are given"):
        import_checkpoint(request_of("aicl", [*files, *files]))
    with pytest.raises(WeightsInvalid, match="does not fit"):
        import_checkpoint(request_of("aicl", files, name="../up"))
    with pytest.raises(WeightsInvalid, match="knows 3 classes and the class list has 20"):
        import_checkpoint(request_of("aicl", files, classes=THUMOS14_CLASSES))
    for name in ("flow.pth", "rgb.pth"):
        (tmp_path / name).write_bytes(b"")
    with pytest.raises(WeightsInvalid, match="RGB stream's file first"):
        import_checkpoint(request_of("cmcs", [tmp_path / "flow.pth", tmp_path / "rgb.pth"]))


def test_class_lists_come_from_a_name_or_a_file(tmp_path):
    assert len(read_classes("thumos14")) == 20
    path = tmp_path / "classes.txt"
    path.write_text("run\njump\n\n", encoding="utf-8")
    assert read_classes(str(path)) == ("run", "jump")


def test_models_without_weights_of_their_own_take_the_published_backbone():
    published = CATALOG["i3d-kinetics400"].recipe
    assert with_weights(EXTERNAL_I3D) == published
    assert with_weights(published) is published
    other = replace(EXTERNAL_I3D, backbone="bn_inception")
    assert with_weights(other) is other


def test_the_command_reports_every_key(tmp_path):
    (rules,) = rules_of("cmcs", num_classes=20)
    path = tmp_path / "both.pth"
    torch.save({rule.source: torch.randn(rule.shape) for rule in rules}, path)
    home = tmp_path / "home"
    arguments = ["models", "import", "--from", "cmcs", str(path), "--home", str(home), "--name"]
    result = CliRunner().invoke(app, [*arguments, "first", "--json"])
    assert result.exit_code == 0, result.output
    document = json.loads(result.stdout)
    assert document["model"] == "first@1"
    assert [one["source"] for one in document["keys"]] == [rule.source for rule in rules]
    assert all(one["target"] for one in document["keys"])
    assert load_model(home / "models" / "first").card.classes == THUMOS14_CLASSES
    table = CliRunner().invoke(app, [*arguments, "second"])
    assert table.exit_code == 0
    assert "our parameter" in table.output
    again = CliRunner().invoke(app, [*arguments, "first"])
    assert again.exit_code == 4
    assert "already" in again.output
    unknown = CliRunner().invoke(app, [*arguments, "third", "--classes", str(tmp_path / "none")])
    assert unknown.exit_code == 3


CMCS_FILES = {
    "cmcs": ("trained-thumos-I3D-run-0", "15000"),
    "cmcs-untrimmednet": ("trained-thumos-UNT-run-0", "7500"),
}


@pytest.mark.parametrize("parts", [("both",), ("rgb", "flow")])
@pytest.mark.parametrize("name", sorted(CMCS_FILES))
def test_cmcs_checkpoints_import_and_run(name, parts, real_clips, tmp_path):
    folder, step = CMCS_FILES[name]
    base = real_clips / "checkpoints" / "cmcs" / folder
    files = tuple(base / f"model-{part}-{step}" for part in parts)
    request = ImportRequest(name, files, "m")
    imported = import_published(request, tmp_path)
    assert len(imported.report) == 22 * len(parts)
    seen, found = run(load_model(tmp_path / "m"), 60)
    assert seen.localization.shape == (60, 20)
    assert found
    for file in files:
        state = read_checkpoint(file)
        lines = [one for one in imported.report if one.file == file.name]
        for line in lines:
            assert line.target is not None
            ours = imported.head.state_dict()[line.target]
            torch.testing.assert_close(ours.flatten(), state[line.source].flatten())


def stpn_files(real_clips: Path) -> tuple[Path, Path]:
    base = real_clips / "checkpoints" / "stpn"
    return base / "rgb" / "rgb_23100.index", base / "flow" / "flow_23100.index"


def test_stpn_checkpoints_import_and_run(real_clips, tmp_path):
    request = ImportRequest("stpn-tf", stpn_files(real_clips), "m")
    imported = import_published(request, tmp_path)
    assert len(imported.report) == 40
    unused = [one for one in imported.report if one.target is None]
    assert len(unused) == 2 * (12 + 2)
    assert all("Adam" in one.note for one in unused)
    seen, _ = run(load_model(tmp_path / "m"), 30)
    assert seen.localization.shape == (400, 20)
    assert seen.proposals is not None


def test_stpn_computes_what_its_formulas_say(real_clips):
    imported = import_checkpoint(ImportRequest("stpn-tf", stpn_files(real_clips), "m"))
    state = {key: value.double().numpy() for key, value in imported.head.state_dict().items()}
    values = np.random.default_rng(1).random((7, 2048), dtype=np.float32)
    with torch.no_grad():
        output = imported.head(torch.from_numpy(values)[None])
    sigmoid = lambda x: 1 / (1 + np.exp(-x))  # noqa: E731 - a formula
    logits = {}
    for stream, part in (("rgb", values[:, :1024]), ("flow", values[:, 1024:])):
        base = f"streams.{stream}."
        first = state[f"{base}attention.first.conv.weight"][..., 0]
        hidden = np.maximum(part @ first.T + state[f"{base}attention.first.conv.bias"], 0)
        second = state[f"{base}attention.second.conv.weight"][..., 0]
        attention = sigmoid(hidden @ second.T + state[f"{base}attention.second.conv.bias"])
        weight = state[f"{base}classifier.weight"]
        pooled = (attention * part).mean(axis=0)
        video = sigmoid(pooled @ weight.T + state[f"{base}classifier.bias"])
        np.testing.assert_allclose(output.evidence[f"{stream}_video"][0], video, rtol=1e-4)
        logits[stream] = part @ weight.T
        gated = attention * sigmoid(logits[stream])
        np.testing.assert_allclose(output.evidence[f"{stream}_gated"][0], gated, rtol=1e-4)
        logits[f"{stream}_attention"] = attention
    both = (logits["rgb"] + logits["flow"]) / 2
    for stream in ("rgb", "flow"):
        score = logits[f"{stream}_attention"] * both
        np.testing.assert_allclose(
            output.evidence[f"{stream}_score"][0], score, rtol=1e-3, atol=1e-5
        )


def test_stpn_proposes_the_runs_of_each_stream():
    torch.manual_seed(3)
    settings = StpnSettings(attention_width=4, class_threshold=0.3, threshold=0.25, upsample=5)
    head = StpnHead(HeadSpec(CLASSES, ("rgb", "flow"), 8), settings).eval()
    features = 2 * torch.randn(1, 9, 16)
    with torch.no_grad():
        output = head(features)
    (got,) = head.propose(output)
    expected = []
    for stream in ("rgb", "flow"):
        for label in range(len(CLASSES)):
            if output.evidence[f"{stream}_video"][0, label] <= 0.3:
                continue
            places = np.arange(8 * 5 + 1) / 5  # inside the snippets; the tail is extrapolated
            knots = np.arange(9)
            gated, score = (
                np.interp(places, knots, output.evidence[f"{stream}_{kind}"][0, :, label])
                for kind in ("gated", "score")
            )
            for start, stop in runs_above(gated, 0.25):
                if stop < len(places):
                    expected.append((label, start / 5, stop / 5, score[start:stop].mean()))
    found = np.column_stack([got.class_index, got.steps, got.raw_scores])
    found = found[found[:, 2] < 8.2]
    assert len(expected) > 2
    np.testing.assert_allclose(found, np.array(expected), rtol=1e-5)
