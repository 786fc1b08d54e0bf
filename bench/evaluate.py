"""Times `kinetag evaluate` on published detections and prints its figures beside the published.

    python -m bench.evaluate --data DIR [--json PATH]

``DIR/predictions/stpn`` must hold ``results.json``, ``gt.json`` and ``expected_map.json``.
Exit status 1: a figure is further from the published one than a tenth of a percent.
"""

import argparse
import json
import statistics
import subprocess
import sys
import time
from pathlib import Path

from bench.report import BenchReport
from models.evaluation.files import read_detections, read_ground_truth
from models.evaluation.protocols import PROTOCOLS
from models.evaluation.records import THUMOS_TIOUS
from models.evaluation.scoring import PERCENT, evaluate

TOLERANCE_PERCENT = 0.1
REPEATS = 5


def _command_seconds(folder: Path) -> tuple[list[float], list[float]]:
    """Return the mAP row in percent and the wall seconds of each run of the whole command."""
    arguments = ["evaluate", "--predictions", str(folder / "results.json")]
    arguments += ["--ground-truth", str(folder / "gt.json"), "--protocol", "anet", "--json", "-"]
    row: list[float] = []
    walls = []
    for _ in range(REPEATS):
        started = time.perf_counter()
        done = subprocess.run(  # noqa: S603 - our own program on files the caller named
            [sys.executable, "-m", "kinetag", *arguments],
            capture_output=True,
            text=True,
            check=True,
        )
        walls.append(time.perf_counter() - started)
        row = list(json.loads(done.stdout)["map"].values())
    return row, walls


def _library_seconds(folder: Path, protocol: str) -> float:
    """Return the median wall seconds of one library call at seven thresholds."""
    found = read_detections(folder / "results.json")
    truths = read_ground_truth(folder / "gt.json")
    walls = []
    for _ in range(REPEATS):
        started = time.perf_counter()
        evaluate(found, truths, protocol, THUMOS_TIOUS)
        walls.append(time.perf_counter() - started)
    return statistics.median(walls)


def main() -> int:
    """Measure, print, and return the exit status."""
    parser = argparse.ArgumentParser(description="Times the evaluation of published detections.")
    parser.add_argument("--data", type=Path, required=True, help="folder with predictions/stpn")
    parser.add_argument("--json", type=Path, default=None, help="write the report here")
    options = parser.parse_args()
    folder = options.data / "predictions" / "stpn"
    expected = json.loads((folder / "expected_map.json").read_text())
    published = expected["published_reproduced_map_percent"][: len(THUMOS_TIOUS)]
    row, walls = _command_seconds(folder)
    difference = max(abs(a - b) for a, b in zip(row, published, strict=True))
    report = BenchReport(
        bench="evaluate",
        source=f"{expected['source']}, protocol anet, tIoU 0.1 to 0.7",
        figures={
            "map_percent": [round(one, 2) for one in row],
            "published_map_percent": published,
            "largest_difference_percent": difference,
            "average_map_percent": round(statistics.mean(row), 2),
            "command_seconds_median": statistics.median(walls),
            "command_seconds_min": min(walls),
            **{f"library_{name}_seconds": _library_seconds(folder, name) for name in PROTOCOLS},
        },
    )
    report.publish(options.json)
    if difference > TOLERANCE_PERCENT:
        print(f"not reproduced: off by {difference:.2f} of {PERCENT:.0f}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
