"""The doctor's document, its problems and its sentences, from drawn findings."""

import copy
import math
from dataclasses import replace
from typing import Any

import pytest

from models.doctor.estimate import StageRates, estimate, estimate_all, measured_recipes
from models.doctor.problems import find_problems
from models.doctor.processes import ProbeOutcome
from models.doctor.report import DoctorOptions, examine
from models.doctor.wording import detected, measured

GIB = 1024**3
FOUND: dict[str, dict[str, Any]] = {
    "torch": {
        "torch": "2.12.1",
        "torchvision": "0.27.1",
        "cuda": "13.0",
        "models": {
            "demo": "kinetag-demo@1",
            "demo_problem": None,
            "installed": ["kinetag-demo@1"],
            "weights_pulled": [],
            "weights_missing": ["i3d-kinetics400"],
        },
        "gpu": {"devices": [], "driver": None, "reason": "Found no NVIDIA driver"},
        "precision": {"device": "cpu", "auto": "bf16", "auto_narrow": "fp32"},
    },
    "media": {"opencv": "5.0", "pyav": "18.1", "ffmpeg": "8.1", "ffmpeg_libraries": {}},
    "flow": {
        "implementation": "native",
        "version": "1-avx512",
        "targets": ["avx512", "avx2", "baseline"],
        "works": True,
    },
    "sandbox": {
        "decode_child": True,
        "limits": {"memory_bytes": 4 * GIB, "open_files": 32, "file_bytes": 0},
        "no_new_privs": True,
        "seccomp": False,
        "landlock_abi": 7,
        "landlock_used": False,
        "user_namespaces": True,
        "user_namespaces_used": False,
    },
    "benchmark": {
        "num_threads": 2,
        "device": "cpu",
        "flow": "native",
        "demo_precision": "fp32",
        "published_precision": "bf16",
        "decode_frames_per_second": 2000.0,
        "demo_flow_pairs_per_second": 200.0,
        "demo_windows_per_second_per_stream": 100.0,
        "published_flow_pairs_per_second": 50.0,
        "published_windows_per_second_per_stream": 10.0,
        "published_fast_flow_pairs_per_second": 500.0,
        "seconds": 9.0,
    },
}


class DrawnProbe:
    def __init__(self, outcome: ProbeOutcome) -> None:
        self._outcome = outcome

    def outcome(self, timeout_seconds: float) -> ProbeOutcome:
        return self._outcome


def drawn(outcomes=None, quick=False):
    outcomes = {name: ProbeOutcome(copy.deepcopy(facts)) for name, facts in FOUND.items()} | (
        outcomes or {}
    )
    return examine(DoctorOptions((), quick=quick), start=lambda name, _: DrawnProbe(outcomes[name]))


def calm(document):
    """A document without what this very machine adds to it."""
    document["cores"].update(machine=2, affinity=2, quota=None, usable=2)
    document["memory"].update(usable_bytes=8 * GIB)
    document["instruction_set"].update(level="avx512")
    if document["benchmark"] is not None:
        document["benchmark"]["load_before"] = 0.0
    return document


def codes(document):
    return [problem.code for problem in find_problems(document)]


def test_keys_are_stable():
    document = drawn()
    assert list(document) == [
        "cores", "memory", "instruction_set", "flow", "gpu", "precision", "sandbox", "versions",
        "models", "benchmark", "estimate",
    ]  # fmt: skip
    assert set(document["estimate"]) == set(measured_recipes())


def test_keys_stay_when_nothing_answers():
    silent = ProbeOutcome(failure="it crashed (SIGSEGV)")
    document = drawn(dict.fromkeys(("torch", "media", "flow", "sandbox"), silent))
    assert set(document) == set(drawn())
    for section in ("flow", "gpu", "precision", "sandbox", "versions", "models"):
        assert set(document[section]) == set(drawn()[section]), section
    assert document["benchmark"] is None  # without torch there is nothing to measure
    found = codes(calm(document))
    assert {"torch_unusable", "media_unusable", "flow_unusable", "decode_child_unusable"} == set(
        found
    )
    assert all(sentence for _, sentence in detected(document))


def test_a_good_machine_has_no_problems():
    assert codes(calm(drawn())) == []


@pytest.mark.parametrize("quick", [True, False])
def test_every_finding_has_a_sentence(quick):
    document = calm(drawn(quick=quick))
    lines = [*detected(document), *measured(document)]
    topics = [topic for topic, _ in lines]
    assert {"cores", "memory", "processor", "optical flow", "GPU", "precision"} <= set(topics)
    assert ("estimate" in topics) is not quick
    assert all(sentence and "None" not in sentence for _, sentence in lines)


@pytest.mark.parametrize(
    ("section", "values", "code"),
    [
        ("flow", {"implementation": "opencv", "targets": []}, "flow_slow"),
        ("flow", {"targets": ["avx2", "baseline"]}, "flow_slow"),
        ("sandbox", {"no_new_privs": False}, "sandbox_weak"),
        ("sandbox", {"limits": {}}, "sandbox_weak"),
        ("models", {"demo_problem": "The weights are damaged."}, "demo_model_unusable"),
        ("gpu", {"driver": "580.1", "reason": "too old"}, "gpu_unusable"),
        ("cores", {"machine": 64, "affinity": 64, "quota": 2.0, "usable": 2}, "cores_limited"),
        ("memory", {"usable_bytes": GIB}, "memory_small"),
        ("benchmark", {"failure": "decoding: it crashed (SIGSEGV)"}, "benchmark_failed"),
        ("benchmark", {"load_before": 1.9}, "machine_busy"),
        ("versions", {"torch_failure": "the GPU: it did not answer"}, "torch_failing"),
        ("versions", {"media_failure": "pyav: ImportError: av"}, "media_unusable"),
    ],
)
def test_each_problem_is_seen_and_says_what_to_do(section, values, code):
    document = calm(drawn())
    document[section].update(values)
    (problem,) = find_problems(document)
    assert problem.code == code
    assert problem.message.endswith(".")
    assert len(problem.message) > 40


def test_a_driver_that_hangs_leaves_torch_and_models_known():
    facts = {key: FOUND["torch"][key] for key in ("torch", "torchvision", "cuda", "models")}
    hung = ProbeOutcome(facts, "it did not answer within 60 s", "the GPU")
    document = calm(drawn({"torch": hung}))
    assert document["versions"]["torch"] == "2.12.1"
    assert document["models"]["demo_problem"] is None
    assert document["benchmark"] is None
    assert codes(document) == ["torch_failing"]


def test_estimate_adds_up_on_processors():
    recipe = measured_recipes()["published"].recipe
    found = estimate(recipe, StageRates(1000, 50, 12.5, cores=2))
    # 25 frames: 12.5 ms of both processors; 25 pairs: 0.5 s; 2 x 1.5625 windows: 0.25 s.
    assert math.isclose(found.decode_seconds, 0.0125)
    assert math.isclose(found.flow_seconds, 0.5)
    assert math.isclose(found.backbone_seconds, 0.25)
    assert found.realtime_factor <= 1 / 0.7625
    assert found.bound_by == "optical flow"


def test_estimate_with_a_gpu_is_the_slower_side():
    recipe = measured_recipes()["published"].recipe
    slow_gpu = estimate(recipe, StageRates(1000, 500, 3.125, cores=2, backbone_on_gpu=True))
    assert math.isclose(slow_gpu.realtime_factor, 1.0)
    assert slow_gpu.bound_by == "the backbones"
    fast_gpu = estimate(recipe, StageRates(1000, 500, 3125, cores=16, backbone_on_gpu=True))
    assert fast_gpu.realtime_factor <= 20


def test_flow_on_the_gpu_adds_to_the_backbones_there():
    recipe = measured_recipes()["published"].recipe
    rates = StageRates(1000, 50, 12.5, cores=2, backbone_on_gpu=True, flow_on_gpu=True)
    assert math.isclose(estimate(recipe, rates).realtime_factor, 1 / 0.75)


def test_extraction_measured_as_a_whole_takes_the_place_of_the_sum():
    recipe = measured_recipes()["published"].recipe
    rates = StageRates(5000, 5000, 500, cores=16, backbone_on_gpu=True, extracted_frames=2000)
    assert math.isclose(estimate(recipe, rates).realtime_factor, 80)
    slow_decode = replace(rates, decode_frames=1000)
    assert math.isclose(estimate(recipe, slow_decode).realtime_factor, 40)


def test_cheaper_speeds_are_faster():
    factors = [one.realtime_factor for one in estimate_all(FOUND["benchmark"], 2).values()]
    demo, *published = factors
    assert published == sorted(published)
    assert demo > published[0]


def test_one_decode_child_is_a_bound_of_its_own():
    recipe = measured_recipes()["demo"].recipe
    found = estimate(recipe, StageRates(50, 1e6, 1e6, cores=64))
    assert math.isclose(found.realtime_factor, 2.0)
    assert found.bound_by == "decoding"


def test_faster_stages_never_make_it_slower():
    recipe = measured_recipes()["published"].recipe
    base = StageRates(1000, 50, 10, cores=2)
    factor = estimate(recipe, base).realtime_factor
    for name in ("decode_frames", "flow_pairs", "windows"):
        faster = replace(base, **{name: getattr(base, name) * 2})
        assert estimate(recipe, faster).realtime_factor > factor


def test_a_stage_that_was_not_reached_leaves_its_recipe_out():
    measured = dict(FOUND["benchmark"])
    del measured["published_windows_per_second_per_stream"]
    assert set(estimate_all(measured, 2)) == {"demo"}
    assert estimate_all({}, 2) == {}
