"""Jobs at other speeds: what a model offers, how it is wished, and what a worker is told."""

import json

import pytest

from models.errors import ModelUnknown
from models.speeds import ModelChoice
from service.cards import find_model, list_models

VIDEO = b"a video of some kind"


def upload(client, **fields):
    files = {"video": ("cam.mp4", VIDEO, "video/mp4")}
    return client.post("/v1/jobs", files=files, data=fields)


@pytest.fixture
def variants(settings):
    """The default model with a head for `fast`, a damaged and a foreign one."""
    folder = settings.data_dir / "models" / "kinetag-demo@1"
    card = json.loads((folder / "card.json").read_text())
    for speed, changes in (("fast", {}), ("rgb-only", {"version": "0"})):
        (folder / speed).mkdir()
        text = json.dumps(card | {"speed": speed} | changes)
        (folder / speed / "card.json").write_text(text)
    return settings


def test_a_model_lists_its_speeds_once(variants, client):
    shown = client.get("/v1/models").json()["models"]
    speeds = {model["id"]: model["speeds"] for model in shown}
    assert speeds["kinetag-demo@1"] == ["exact", "fast"]
    assert len(speeds) == len(shown)


@pytest.mark.parametrize(
    ("fields", "model"),
    [
        ({}, "kinetag-demo@1"),
        ({"options": '{"speed": "exact"}'}, "kinetag-demo@1"),
        ({"options": '{"speed": "fast"}'}, "kinetag-demo@1:fast"),
        ({"model": "kinetag-demo:fast"}, "kinetag-demo@1:fast"),
        ({"model": "kinetag-demo@1:fast", "options": '{"speed": "fast"}'}, "kinetag-demo@1:fast"),
    ],
)
def test_a_job_and_its_worker_know_the_speed(variants, client, fields, model):
    answer = upload(client, **fields)
    assert (answer.status_code, answer.json()["model"]) == (202, model)
    task = client.queue.claim(owner="w", lease_seconds=60.0)
    assert task.model == model
    assert ModelChoice.parse(task.model).speed == ("fast" if "fast" in model else "")


@pytest.mark.parametrize(
    ("fields", "code", "words"),
    [
        ({"options": '{"speed": "rgb-only"}'}, "model_unknown", "choose exact or fast, or train"),
        ({"model": "kinetag-demo:slow"}, "model_unknown", "There is no speed slow"),
        ({"options": '{"speed": "slow"}'}, "option_invalid", "The option speed "),
        (
            {"model": "kinetag-demo:fast", "options": '{"speed": "exact"}'},
            "model_unknown",
            "named at speed fast and exact is wished",
        ),
    ],
)
def test_a_speed_that_cannot_be_had_is_refused(variants, client, fields, code, words):
    answer = upload(client, **fields)
    assert (answer.status_code, answer.json()["code"]) == (422, code)
    assert words in answer.json()["detail"]


def test_a_head_of_another_speed_never_stands_in_for_its_model(variants):
    folder = variants.data_dir / "models" / "kinetag-demo@1"
    (folder / "card.json").write_text("{")
    assert list_models((folder,)) == []


def test_service_and_science_read_names_alike(variants):
    model, full_name = find_model("kinetag-demo:fast", variants.model_folders)
    assert full_name == str(ModelChoice.parse(f"{model.identity}:fast"))
    with pytest.raises(ModelUnknown):
        ModelChoice.parse(full_name).at("exact")
