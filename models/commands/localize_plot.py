"""`kinetag localize --plot`: a picture beside the result, which never costs the result."""

from dataclasses import dataclass
from pathlib import Path

from models.atomic import write_bytes_atomic
from models.errors import PipelineError
from models.evidence import LocalizationResult
from models.exports import selected, to_native
from models.overrides import LocalizeOverrides
from models.pipeline import Localizer
from models.plots.layout import PictureChoice, lay_out
from models.plots.primitives import Strip
from models.plots.scene import Curves, curves_of, scene_of
from models.plots.svg import render_svg
from models.thumbnails import draw_thumbnails

SVG, PNG = ".svg", ".png"
PICTURES = (SVG, PNG)
OTHER_PICTURES = (".bmp", ".gif", ".jpeg", ".jpg", ".pdf", ".tif", ".tiff", ".webp")
FOLDER_ENDING = ".timeline.svg"
PNG_SCALE = 2.0


class PlotTargetError(ValueError):
    """The option cannot be used for these files; the message says what to give."""


@dataclass(frozen=True, slots=True)
class PlotTarget:
    """Where pictures go: one file, or a folder with one SVG per video."""

    path: Path

    @classmethod
    def parse(cls, text: str, num_files: int) -> "PlotTarget":
        """Return what the option says.

        Raises:
            PlotTargetError: one file for several videos, or a format that is not drawn.
        """
        path = Path(text)
        ending = path.suffix.lower()
        if ending in OTHER_PICTURES:
            message = f"--plot draws {' and '.join(PICTURES)}, not {ending}"
            raise PlotTargetError(message)
        target = cls(path)
        if target.is_file and num_files > 1:
            message = "--plot takes a folder where there are several videos"
            raise PlotTargetError(message)
        return target

    @property
    def is_file(self) -> bool:
        """Whether the path names one picture."""
        return self.path.suffix.lower() in PICTURES and not self.path.is_dir()

    def file_for(self, video: Path) -> Path:
        """Return the picture of a video."""
        return self.path if self.is_file else self.path / (video.name + FOLDER_ENDING)


def draw_plot(
    localizer: Localizer,
    result: LocalizationResult,
    overrides: LocalizeOverrides,
    video: Path,
    file: Path,
) -> str | None:
    """Draw a result into a file; return why it could not be, None when it is there.

    Args:
        localizer: opens the video again for its thumbnails; without them the picture is drawn too.
        result: with its evidence.
        overrides: of the command; labels they choose are the lanes.
        video: that the result is of.
        file: ends in .svg or .png.
    """
    try:
        write_bytes_atomic(file, _drawn(localizer, result, overrides, video, file))
    except Exception as error:  # noqa: BLE001 - no fault of a picture costs the files after it
        return f"The picture {file} could not be drawn: {str(error) or type(error).__name__}"
    return None


def _drawn(
    localizer: Localizer,
    result: LocalizationResult,
    overrides: LocalizeOverrides,
    video: Path,
    file: Path,
) -> bytes:
    curves: Curves | None = None
    classes: tuple[str, ...] = ()
    if result.evidence is not None:
        evidence = result.evidence
        classes = evidence.activations.classes
        settings = overrides.proposals(evidence.proposals)
        curves = curves_of(evidence.activations, evidence.step_seconds(), settings)
    scene = scene_of(
        selected(to_native(result), overrides),
        classes=classes,
        curves=curves,
        thumbnails=_strip(localizer, video, result.video.sha256),
    )
    choice = PictureChoice(labels=overrides.labels)
    if file.suffix.lower() == PNG:
        from models.plots.png import render_png  # noqa: PLC0415 - loads Pillow

        return render_png(scene, choice, scale=PNG_SCALE)
    return render_svg(lay_out(scene, choice)).encode()


def _strip(localizer: Localizer, video: Path, sha256: str) -> Strip | None:
    try:
        with localizer.open(video, name=video.name, sha256=sha256) as source:
            drawn = draw_thumbnails(source)
    except PipelineError:
        return None
    shape = (drawn.tile_width_px, drawn.tile_height_px, drawn.columns, drawn.seconds)
    return Strip(drawn.jpeg, *shape)
