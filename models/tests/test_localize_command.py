"""`kinetag localize`: results in order, errors in their place, exit status by who acts."""

import csv
import hashlib
import io
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import safetensors.torch
from typer.testing import CliRunner

from models.backbones.registry import random_weights
from models.cli import app
from models.config import ProposalSettings, settings_to_json
from models.exports import EXPORTS
from models.heads.base import HeadSpec
from models.heads.registry import PRESETS, build_head
from models.modelcard import ModelCard, save_model
from models.recipe import FeatureRecipe
from models.synthetic import encode_video
from models.training.train import TrainedHead

CLASSES = ("left", "right")
TINY = FeatureRecipe(name="tiny", short_side_px=48, crop_px=48, width=0.125, stream_width=128)


@pytest.fixture(scope="module")
def home(tmp_path_factory) -> Path:
    """A home with one tiny untrained model that claims something everywhere."""
    home = tmp_path_factory.mktemp("home")
    folder = home / "models" / "tiny@1"
    folder.mkdir(parents=True)
    digests = []
    for stream, state in random_weights(TINY, seed=3).items():
        content = safetensors.torch.save({k: v.contiguous() for k, v in state.items()})
        (folder / f"{stream}.safetensors").write_bytes(content)
        digests.append((stream, hashlib.sha256(content).hexdigest()))
    recipe = replace(TINY, weights=tuple(digests))
    preset = PRESETS["aicl"]["small"]
    head = build_head("aicl", HeadSpec.for_recipe(CLASSES, recipe), preset.head)
    width = recipe.feature_width
    trained = TrainedHead(
        head.eval(),
        "aicl",
        recipe,
        np.zeros(width, np.float32),
        np.ones(width, np.float32),
        preset,
        seed=0,
        training_videos=np.zeros(0, np.int64),
        held_out_videos=np.zeros(0, np.int64),
        chosen_step=0,
    )
    card = ModelCard(
        name="tiny",
        version="1",
        method="aicl",
        classes=CLASSES,
        recipe=recipe,
        head_settings=settings_to_json(preset.head),
        proposals=ProposalSettings(thresholds=(0.01,), class_threshold=0.0),
    )
    save_model(folder, card, trained)
    return home


@pytest.fixture(scope="module")
def video(tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("videos") / "moving.mp4"
    noise = np.random.Generator(np.random.PCG64(1)).integers(0, 255, (48, 96, 3), np.uint8)
    frames = [np.roll(noise, shift, axis=1) for shift in range(40)]
    encode_video(frames, path, fps=25.0)
    return path


def run(home: Path, *arguments: str):
    return CliRunner().invoke(app, ["localize", "--home", str(home), *arguments])


def test_native_json_on_stdout_and_messages_on_stderr(home, video):
    result = run(home, "--model", "tiny", str(video))
    assert result.exit_code == 0, result.stderr
    native = json.loads(result.stdout)
    assert native["model"] == "tiny@1"
    assert native["video"]["name"] == "moving.mp4"
    assert native["video"]["duration"] == pytest.approx(1.6)
    assert native["segments"], "the tiny model claims something everywhere"
    for segment in native["segments"]:
        assert 0 <= segment["start"] < segment["end"] <= native["video"]["duration"]
        assert 0 <= segment["score"] <= 1
        assert 0 <= segment["start_frame"] < segment["end_frame"] <= 40
    assert "moving.mp4" in result.stderr


def test_a_second_run_takes_the_stored_features_and_says_the_same(home, video):
    first = run(home, "--model", "tiny@1", str(video))
    second = run(home, "--model", "tiny@1", str(video))
    assert first.stdout == second.stdout
    assert "flow" not in second.stderr


def test_with_json_a_bad_file_answers_in_its_place_and_the_others_go_on(home, video, tmp_path):
    empty, text = tmp_path / "empty.mp4", tmp_path / "notes.txt"
    empty.touch()
    text.write_text("these are notes\n" * 100)
    missing = tmp_path / "gone.mp4"
    files = [str(path) for path in (empty, video, text, missing)]
    result = run(home, "--model", "tiny", "--json", *files)
    lines = [json.loads(line) for line in result.stdout.splitlines()]
    assert result.exit_code == 3
    assert [line.get("error", {}).get("code", "fine") for line in lines] == [
        "empty_video",
        "fine",
        "unreadable_video",
        "unreadable_video",
    ]
    assert lines[0]["video"] == files[0]
    assert "Traceback" not in result.stdout + result.stderr


def test_unknown_model_is_status_4_for_every_file(home, video):
    result = run(home, "--model", "nobody@7", "--json", str(video), str(video))
    assert result.exit_code == 4
    codes = [json.loads(line)["error"]["code"] for line in result.stdout.splitlines()]
    assert codes == ["model_unknown", "model_unknown"]


def test_damaged_weights_are_status_4(home, video, tmp_path):
    broken = tmp_path / "models" / "tiny@1"
    broken.mkdir(parents=True)
    for path in (home / "models" / "tiny@1").iterdir():
        (broken / path.name).write_bytes(path.read_bytes())
    content = bytearray((broken / "flow.safetensors").read_bytes())
    content[-1] ^= 1
    (broken / "flow.safetensors").write_bytes(bytes(content))
    result = run(tmp_path, "--model", "tiny", "--json", str(video))
    assert result.exit_code == 4
    assert json.loads(result.stdout)["error"]["code"] in {"weights_invalid", "weights_missing"}


def test_output_folder_gets_one_file_per_input(home, video, tmp_path):
    result = run(home, "--model", "tiny", "--format", "csv", "--output", str(tmp_path), str(video))
    assert result.exit_code == 0
    assert result.stdout == ""
    rows = list(csv.DictReader(io.StringIO((tmp_path / "moving.mp4.csv").read_text())))
    assert {row["label"] for row in rows} <= set(CLASSES)


def test_wishes_go_before_the_models_own_settings(home, video):
    arguments = ("--model", "tiny", str(video))
    plain = json.loads(run(home, *arguments).stdout)["segments"]
    assert {segment["label"] for segment in plain} == set(CLASSES)
    cases = {
        ("--label", "left"): lambda one: one["label"] == "left",
        ("--class-threshold", "1"): lambda one: False,
        ("--min-raw-score", "2"): lambda one: False,
        ("--threshold", "0.999"): lambda one: False,
    }
    for wish, kept in cases.items():
        got = run(home, *wish, *arguments)
        assert got.exit_code == 0, got.stderr
        assert json.loads(got.stdout)["segments"] == [one for one in plain if kept(one)], wish


@pytest.mark.parametrize("name", EXPORTS)
def test_every_format_can_be_asked_for(home, video, tmp_path, name):
    got = run(home, "--model", "tiny", "--format", name, "--output", str(tmp_path), str(video))
    assert got.exit_code == 0, got.stderr
    (path,) = tmp_path.iterdir()
    assert path.name == "moving.mp4" + EXPORTS[name].ending
    assert "left" in path.read_text()


def test_wrong_usage_is_status_2(home, video):
    assert run(home).exit_code == 2
    assert run(home, "--format", "xml", "a.mp4").exit_code == 2
    assert run(home, "--min-score", "2", "a.mp4").exit_code == 2
    assert run(home, "--nms-threshold", "0", "a.mp4").exit_code == 2
    assert run(home, "--features", str(home), "--label", "left").exit_code == 2
    got = run(home, "--model", "tiny", "--json", "--label", "up", str(video))
    assert got.exit_code == 2
    assert json.loads(got.stdout)["error"]["code"] == "option_invalid"


@pytest.mark.parametrize("export", list(EXPORTS))
def test_a_picture_is_drawn_beside_every_format(home, video, tmp_path, export):
    picture = tmp_path / "timeline.svg"
    plain = run(home, "--model", "tiny", "--format", export, str(video))
    drawn = run(home, "--model", "tiny", "--format", export, "--plot", str(picture), str(video))
    assert (drawn.exit_code, drawn.stdout) == (0, plain.stdout)
    text = picture.read_text()
    assert text.startswith("<svg ")
    assert "moving.mp4" in text
    assert "<image " in text, "thumbnails"
    assert "<polyline" in text, "activations"


def test_pictures_of_several_videos_go_into_a_folder(home, video, tmp_path):
    other = tmp_path / "other.mp4"
    other.write_bytes(video.read_bytes())
    folder = tmp_path / "pictures"
    result = run(home, "--model", "tiny", "--plot", str(folder), str(video), str(other))
    assert result.exit_code == 0
    names = sorted(file.name for file in folder.iterdir())
    assert names == ["moving.mp4.timeline.svg", "other.mp4.timeline.svg"]
    png = tmp_path / "a.PNG"
    assert run(home, "--model", "tiny", "--plot", str(png), str(video)).exit_code == 0
    assert png.read_bytes().startswith(b"\x89PNG")


def test_labels_that_are_chosen_are_the_lanes(home, video, tmp_path):
    picture = tmp_path / "timeline.svg"
    run(home, "--model", "tiny", "--label", "left", "--plot", str(picture), str(video))
    assert ">left<" in picture.read_text()
    assert ">right<" not in picture.read_text()


def test_a_picture_that_cannot_be_drawn_does_not_cost_the_result(home, video, tmp_path):
    blocked = tmp_path / "file"
    blocked.write_text("no folder")
    result = run(home, "--model", "tiny", "--plot", str(blocked / "a.svg"), str(video))
    assert json.loads(result.stdout)["segments"]
    assert result.exit_code == 5
    assert "could not be drawn" in result.stderr
    assert "Traceback" not in result.stderr


@pytest.mark.parametrize(
    ("plot", "files", "reason"),
    [("a.jpg", 1, "not .jpg"), ("a.svg", 2, "takes a folder"), ("a.pdf", 1, "not .pdf")],
)
def test_pictures_that_cannot_be_are_refused_before_anything_is_computed(
    home, video, plot, files, reason
):
    result = run(home, "--model", "tiny", "--plot", plot, *[str(video)] * files)
    assert (result.exit_code, result.stdout) == (2, "")
    assert reason in " ".join(result.stderr.replace("\u2502", " ").split())
