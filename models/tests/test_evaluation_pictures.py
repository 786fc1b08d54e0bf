"""Pictures of an evaluation: files for any number of classes; same input, same file."""

import pytest

from models.errors import ContractViolation
from models.evaluation.errors import KINDS, analyse_errors
from models.evaluation.matching import match_detections
from models.evaluation.records import Detection, GroundTruth
from models.evaluation.scoring import score_matches

pictures = pytest.importorskip("models.evaluation.pictures")
pytest.importorskip("matplotlib")
PNG = b"\x89PNG\r\n"


def scene(num_classes):
    """Instances of each class, the first without detection."""
    labels = [f"class {i}" for i in range(num_classes)]
    truths = [GroundTruth("v", label, 10 * i, 10 * i + 5) for i, label in enumerate(labels)]
    found = [
        Detection("v", label, 10 * i + 11, 10 * i + 16, 1 / (i + 1))
        for i, label in enumerate(labels[1:])
    ]
    return found, truths


@pytest.mark.parametrize("num_classes", [1, 3, 7])
@pytest.mark.parametrize("ending", ["png", "svg"])
def test_every_picture_is_written(tmp_path, num_classes, ending):
    found, truths = scene(num_classes)
    matches = match_detections(found, truths, "anet", (0.3, 0.5))
    names = {
        "precision_recall": lambda path: pictures.draw_precision_recall(matches, path),
        "map": lambda path: pictures.draw_map(score_matches(matches), path),
        "errors": lambda path: pictures.draw_errors(analyse_errors(found, truths), path),
    }
    for name, draw in names.items():
        path = tmp_path / f"{name}.{ending}"
        draw(path)
        content = path.read_bytes()
        assert content.startswith(PNG) if ending == "png" else b"<svg" in content


def test_svg_holds_its_words_and_is_the_same_twice(tmp_path):
    found, truths = scene(4)
    matches = match_detections(found, truths, "evalkit", (0.3, 0.5))
    for name in ("one.svg", "two.svg"):
        pictures.draw_precision_recall(matches, tmp_path / name)
    first, second = ((tmp_path / name).read_bytes() for name in ("one.svg", "two.svg"))
    assert first == second
    text = first.decode()
    assert all(words in text for words in ("P-EVALKIT", "class 3", "tIoU 0.3", "recall"))
    pictures.draw_errors(analyse_errors(found, truths), tmp_path / "errors.svg")
    text = (tmp_path / "errors.svg").read_text()
    assert all(kind in text for kind in (*KINDS, "missed"))


def test_chosen_thresholds(tmp_path):
    found, truths = scene(2)
    matches = match_detections(found, truths, "anet", (0.3, 0.5, 0.7))
    pictures.draw_precision_recall(matches, tmp_path / "some.svg", (0.5,))
    text = (tmp_path / "some.svg").read_text()
    assert "tIoU 0.5" in text
    assert "tIoU 0.3" not in text
    with pytest.raises(ContractViolation, match="was not evaluated"):
        pictures.draw_precision_recall(matches, tmp_path / "some.svg", (0.4,))


def test_another_ending_is_refused(tmp_path):
    found, truths = scene(2)
    result = score_matches(match_detections(found, truths))
    with pytest.raises(ContractViolation, match="must end in"):
        pictures.draw_map(result, tmp_path / "map.jpeg")
