"""`kinetag evaluate`: contract of the JSON, exit statuses, quickness, published figures."""

import json
import os
import subprocess
import sys
import time

import pytest
import typer
from typer.testing import CliRunner

from models.cli import app
from models.commands.evaluate import parse_tious
from models.errors import EvaluationDataInvalid
from models.evaluation.records import ACTIVITYNET_TIOUS, THUMOS_TIOUS


def item(label, start, end, score=None):
    found = {"label": label, "segment": [start, end]}
    return found if score is None else {**found, "score": score}


@pytest.fixture
def files(tmp_path):
    """Ground truth of two subsets and results of a perfect and a false detection."""
    database = {
        "v": {"subset": "test", "annotations": [item("a", 10, 20), item("b", 30, 40)]},
        "quiet": {"subset": "test", "annotations": []},
        "w": {"subset": "train", "annotations": [item("a", 0, 5)]},
    }
    results = {
        "v": [item("a", 10, 20, 0.9), item("b", 60, 70, 0.8)],
        "w": [item("a", 50, 60, 0.95)],
    }
    truth, found = tmp_path / "truth.json", tmp_path / "found.json"
    truth.write_text(json.dumps({"version": "1", "database": database, "taxonomy": []}))
    found.write_text(json.dumps({"version": "1", "results": results, "external_data": {}}))
    return found, truth


def run(files, *arguments):
    found, truth = files
    base = ["evaluate", "--predictions", str(found), "--ground-truth", str(truth)]
    return CliRunner().invoke(app, [*base, *arguments])


def test_json_holds_the_contract(files):
    done = run(files, "--protocol", "anet", "--tiou", "0.3,0.5", "--subset", "test", "--json", "-")
    assert done.exit_code == 0
    document = json.loads(done.stdout)
    expected = {
        "protocol": "anet",
        "videos": 1,
        "instances": 2,
        "map": {"0.3": 50.0, "0.5": 50.0},
        "average": 50.0,
    }
    assert {name: document[name] for name in expected} == expected
    assert document["per_class"]["a"] == {
        "instances": 1,
        "predictions": 1,
        "ap": {"0.3": 100.0, "0.5": 100.0},
        "average": 100.0,
    }
    assert document["per_class"]["b"]["average"] == 0.0
    assert document["videos_without_instances"] == 1
    assert document["predictions_of_other_subsets"] == 1
    assert "1 predictions are of videos of other subsets" in done.stderr


@pytest.mark.parametrize(
    ("protocol", "title"), [("anet", "P-ANET"), ("wtalc", "P-WTALC"), ("evalkit", "P-EVALKIT")]
)
def test_the_table_names_protocol_and_counts(files, protocol, title):
    done = run(files, "--protocol", protocol)
    assert done.exit_code == 0
    assert done.stdout.startswith(f"{title}: 2 videos, 3 instances, 3 predictions")
    assert ("no --ambiguous file" in done.stderr) == (protocol != "anet")


def test_json_file_beside_the_table_and_errors(files, tmp_path):
    done = run(files, "--json", str(tmp_path / "new" / "out.json"), "--errors")
    assert done.exit_code == 0
    document = json.loads((tmp_path / "new" / "out.json").read_text())
    assert document["errors"]["all"]["counts"]["true positive"] == 1
    assert document["errors"]["all"]["counts"]["background"] == 2
    assert document["errors"]["all"]["missed"] == 2
    assert "missed instances" in done.stdout
    assert done.stdout.startswith("P-ANET")


def test_ambiguous_file(files, tmp_path):
    doubt = tmp_path / "doubt.txt"
    doubt.write_text("w  50 60\n")
    with_doubt = run(files, "--protocol", "evalkit", "--ambiguous", str(doubt), "--json", "-")
    without = run(files, "--protocol", "evalkit", "--json", "-")
    first, second = json.loads(with_doubt.stdout), json.loads(without.stdout)
    assert first["ambiguous"] == 1
    assert first["per_class"]["a"]["ap"]["0.5"] > second["per_class"]["a"]["ap"]["0.5"]
    refused = run(files, "--protocol", "anet", "--ambiguous", str(doubt))
    assert refused.exit_code == 2
    assert "anet knows no ambiguous" in refused.stderr


def test_unknown_labels_and_videos(files):
    found, truth = files
    results = {"v": [item("zz", 0, 1, 1.0), item("a", 10, 20, 0.1)], "new": [item("a", 0, 1, 0.9)]}
    found.write_text(json.dumps({"results": results}))
    refused = run(files)
    assert refused.exit_code == 3
    assert "predicted label zz" in refused.stderr
    assert "[evaluation_data_invalid]" in refused.stderr
    done = run(files, "--ignore-unknown-labels", "--json", "-")
    assert done.exit_code == 0
    assert json.loads(done.stdout)["ignored_labels"] == ["zz"]
    assert json.loads(done.stdout)["predictions_of_unknown_videos"] == 1
    assert "new for instance; they count as false" in done.stderr


def test_cliffdiving_as_diving_is_an_option(files):
    found, truth = files
    both = [item("CliffDiving", 0, 9), item("Diving", 0, 9)]
    truth.write_text(json.dumps({"database": {"v": {"annotations": both}}}))
    found.write_text(json.dumps({"results": {"v": [item("CliffDiving", 0, 9, 1.0)]}}))
    plain = json.loads(run(files, "--json", "-").stdout)
    both_ways = json.loads(run(files, "--cliffdiving-as-diving", "--json", "-").stdout)
    assert (plain["average"], both_ways["average"]) == (50.0, 100.0)
    assert (plain["cliffdiving_as_diving"], both_ways["cliffdiving_as_diving"]) == (False, True)


def test_unusable_input_is_one_sentence_and_status_3(files, tmp_path):
    found, truth = files
    assert run(files, "--subset", "validation").exit_code == 3
    found.write_text('{"results": {}}')
    empty = run(files)
    assert empty.exit_code == 3
    assert empty.stderr.startswith("found.json holds no prediction")
    assert empty.stderr.count("\n") == 1
    assert empty.stdout == ""
    assert run((tmp_path / "none.json", truth)).exit_code == 3


@pytest.mark.parametrize(
    "arguments",
    [("--protocol", "voc"), ("--tiou", "0.5:0.9"), ("--tiou", "2"), ("--errors-tiou", "0")],
)
def test_wrong_usage_is_status_2(files, arguments):
    assert run(files, *arguments).exit_code == 2


def test_an_output_that_cannot_be_written_is_the_machines_fault(files, tmp_path):
    (tmp_path / "taken").write_text("")
    assert run(files, "--json", str(tmp_path / "taken" / "out.json")).exit_code == 5


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("0.1:0.1:0.7", THUMOS_TIOUS),
        ("thumos", THUMOS_TIOUS),
        ("activitynet", ACTIVITYNET_TIOUS),
        ("0.5:0.05:0.95", ACTIVITYNET_TIOUS),
        ("0.3,0.5", (0.3, 0.5)),
        ("0.5", (0.5,)),
        ("0.1:0.2:0.6", (0.1, 0.3, 0.5)),
        ("1", (1.0,)),
    ],
)
def test_thresholds_are_exact_decimals(text, expected):
    assert parse_tious(text) == expected


@pytest.mark.parametrize(
    "text",
    ["", "a", "0", "1.1", "-0.5", "nan", "inf", "0.5,0.5", "0.7:0.1:0.1", "0.1:0:0.7"],
)
def test_thresholds_that_mean_nothing(text):
    with pytest.raises(typer.BadParameter, match="no list of tIoU"):
        parse_tious(text)


@pytest.mark.parametrize(
    "text",
    ["0.1:-0.1:0.7", "0.1:1e-9:0.7", "0.1:nan:0.7", "0.1:0.1", "0.1:0.1:0.7:1", "0.1:1e-999:inf"],
)
def test_ranges_that_mean_nothing(text):
    with pytest.raises(typer.BadParameter, match="no list of tIoU"):
        parse_tious(text)


def test_the_error_code_is_of_the_input():
    assert EvaluationDataInvalid.code == "evaluation_data_invalid"


def test_published_figures_quickly_and_without_torch(real_clips):
    folder = real_clips / "predictions" / "stpn"
    if not (folder / "results.json").is_file():
        pytest.skip("the folder has no predictions/stpn")
    program = (
        "import sys; sys.argv[0] = 'kinetag'\n"
        "import atexit; atexit.register(lambda: sys.stderr.write(str('torch' in sys.modules)))\n"
        "import kinetag; kinetag.main()"
    )
    arguments = ["evaluate", "--predictions", str(folder / "results.json")]
    arguments += ["--ground-truth", str(folder / "gt.json"), "--protocol", "anet", "--json", "-"]
    started, before = time.perf_counter(), os.times()
    done = subprocess.run(
        [sys.executable, "-c", program, *arguments], capture_output=True, text=True, check=True
    )
    wall_seconds, after = time.perf_counter() - started, os.times()
    busy_seconds = after.children_user - before.children_user
    document = json.loads(done.stdout)
    published = [52.1, 44.2, 34.7, 26.1, 17.7, 10.1, 4.9]
    assert list(document["map"].values()) == pytest.approx(published, abs=0.1)
    assert (document["videos"], document["instances"]) == (210, 3311)
    assert done.stderr.endswith("False"), "torch was imported"
    assert busy_seconds < 2, f"{busy_seconds:.2f} s of processor time, {wall_seconds:.2f} s in all"
