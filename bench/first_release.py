"""The first release beside today's code: exported from the history, built, run in its own process.

Nothing of it is imported here: it runs with its own folder as its only source of modules.
"""

import json
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from models.atomic import write_text_atomic

# The last commit of release 0.1.0.
FIRST_RELEASE = "e2c8d2abafdac36b5328e2e22e5a45acea25d1aa"
REPOSITORY = Path(__file__).resolve().parent.parent

# Runs inside the export; prints one JSON object.
PROGRAM = """
import json, sys, time
from pathlib import Path
from bench.path import Excerpt
from models.backbones.registry import random_weights
from models.catalog import published_recipe
from models.decode import VideoSource
from models.features import ExtractorSettings, FeatureExtractor
path, seconds, threads, flow = Path(sys.argv[1]), float(sys.argv[2]), int(sys.argv[3]), sys.argv[4]
recipe = published_recipe()
settings = ExtractorSettings(num_threads=threads, precision="fp32", flow_implementation=flow)
extractor = FeatureExtractor(recipe, random_weights(recipe), settings)
started = time.perf_counter()
with VideoSource(path, fps=recipe.fps, short_side_px=recipe.short_side_px) as source:
    features = extractor.extract(Excerpt(source, seconds))
wall = time.perf_counter() - started
print(json.dumps({"seconds": features.duration_seconds, "wall_seconds": wall,
                  **features.computed_with}))
"""


@dataclass(frozen=True, slots=True)
class FirstRelease:
    """A folder that holds the first release, with its kernel built.

    Attributes:
        folder: of the export.
    """

    folder: Path

    @classmethod
    def export(cls, scratch: Path) -> "FirstRelease | None":
        """Take the first release out of the history; None where there is no history or compiler."""
        folder = scratch / "first-release"
        folder.mkdir(parents=True)
        build = scratch / "first-release-build"
        try:
            archive = _run("git", "-C", str(REPOSITORY), "archive", FIRST_RELEASE)
            subprocess.run(  # noqa: S603 - fixed words
                ["tar", "-x", "-C", str(folder)],  # noqa: S607 - any tar will do
                input=archive,
                check=True,
            )
            configure = ("-S", str(folder / "models/flow"), "-B", str(build), "-G", "Ninja")
            _run("cmake", *configure, f"-DPython_EXECUTABLE={sys.executable}")
            _run("cmake", "--build", str(build))
            _run("cmake", "--install", str(build))
        except (OSError, subprocess.CalledProcessError) as error:
            print(f"the first release could not be built and is left out: {error}")
            return None
        return cls(folder)

    def run(self, path: Path, seconds: float, num_threads: int, flow: str) -> dict[str, Any]:
        """Extract features of the first seconds of a video with the first release's code.

        Args:
            path: of the video.
            seconds: of it.
            num_threads: of flow and backbones.
            flow: ``native`` or ``opencv``.

        Returns:
            ``seconds`` of video, ``wall_seconds``, and how it computed.
        """
        program = self.folder / "run_path.py"
        write_text_atomic(program, PROGRAM)
        answer = subprocess.run(  # noqa: S603 - our own program
            [sys.executable, str(program), str(path), str(seconds), str(num_threads), flow],
            env={"PYTHONPATH": str(self.folder), "PATH": "/usr/bin:/bin"},
            cwd=self.folder,
            check=True,
            capture_output=True,
            text=True,
        )
        found: dict[str, Any] = json.loads(answer.stdout.splitlines()[-1])
        return found


def _run(*command: str) -> bytes:
    return subprocess.run(list(command), check=True, capture_output=True).stdout  # noqa: S603
