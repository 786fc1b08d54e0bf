"""`kinetag evaluate`: predictions against ground truth, as a table, JSON and pictures."""

import json
import sys
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from models.atomic import write_text_atomic
from models.errors import EvaluationDataInvalid, InputError, PipelineError

if TYPE_CHECKING:
    from models.evaluation.errors import ErrorAnalysis
    from models.evaluation.matching import Matches
    from models.evaluation.records import AmbiguousInterval, Detection, GroundTruth

EXIT_INPUT = 3
EXIT_MACHINE = 5
STDOUT = "-"
TIOU_PRESETS = {"thumos": "0.1:0.1:0.7", "activitynet": "0.5:0.05:0.95"}
RANGE_PARTS = 3
MAX_TIOUS = 100
LENGTHS = ("fifths", "thumos", "activitynet")


@dataclass(frozen=True, slots=True)
class EvaluateOptions:
    """The parsed command line of `kinetag evaluate`; ``json_path`` ``-`` means stdout."""

    predictions: Path
    ground_truth: Path
    protocol: str
    tious: tuple[float, ...]
    subset: str | None
    ambiguous: Path | None
    ignore_unknown_labels: bool
    cliffdiving_as_diving: bool
    json_path: str | None
    plots: Path | None
    plot_format: str
    errors: bool
    errors_tiou: float
    errors_lengths: str


@dataclass(frozen=True, slots=True)
class _Inputs:
    """What is compared, and what a reader of the figures must know about it."""

    detections: "list[Detection]"
    instances: "tuple[GroundTruth, ...]"
    ambiguous: "tuple[AmbiguousInterval, ...]"
    facts: dict[str, Any]
    notes: tuple[str, ...]


def parse_tious(text: str) -> tuple[float, ...]:
    """Return the thresholds of ``first:step:last`` (both included), ``0.3,0.5`` or a preset.

    Decimals are exact: the third value of ``0.1:0.1:0.7`` is 0.3 and not 0.30000000000000004.

    Raises:
        typer.BadParameter: it is none of these, or a threshold is outside (0, 1].
    """
    spelled = TIOU_PRESETS.get(text, text)
    parts = spelled.split(":")
    try:
        if len(parts) == RANGE_PARTS:
            first, step, last = (Decimal(part) for part in parts)
            count = int((last - first) / step) + 1 if step > 0 else 0
            values = [first + i * step for i in range(min(count, MAX_TIOUS + 1))]
        else:
            values = [Decimal(part) for part in spelled.split(",")]
        fine = 0 < len(values) <= MAX_TIOUS and all(0 < one <= 1 for one in values)
    except (InvalidOperation, ValueError, OverflowError):
        fine, values = False, []
    if not fine or len(set(values)) != len(values):
        message = (
            f"{text!r} is no list of tIoU thresholds: write first:step:last, numbers with commas "
            f"between, or {' or '.join(TIOU_PRESETS)}; each in (0, 1], none twice."
        )
        raise typer.BadParameter(message)
    return tuple(float(one) for one in values)


def evaluate_command(  # noqa: PLR0913 - a command line's options are its parameters
    predictions: Annotated[
        Path, typer.Option(help="Result file in the shape of ActivityNet.", show_default=False)
    ],
    ground_truth: Annotated[
        Path, typer.Option(help="Ground truth in the shape of ActivityNet.", show_default=False)
    ],
    protocol: Annotated[
        Literal["anet", "wtalc", "evalkit"],
        typer.Option(help="How detections are counted; named beside every figure."),
    ] = "anet",
    tiou: Annotated[
        str, typer.Option(help="first:step:last, a list 0.3,0.5, thumos or activitynet.")
    ] = "thumos",
    subset: Annotated[
        str | None, typer.Option(help="Only videos of this subset of the ground truth.")
    ] = None,
    ambiguous: Annotated[
        Path | None,
        typer.Option(help="Stretches of doubt: lines of video, start, end. Not with anet."),
    ] = None,
    ignore_unknown_labels: Annotated[
        bool,
        typer.Option(
            "--ignore-unknown-labels",
            help="Leave out predictions of labels the ground truth lacks.",
        ),
    ] = False,
    cliffdiving_as_diving: Annotated[
        bool,
        typer.Option(
            "--cliffdiving-as-diving",
            help="Count every CliffDiving prediction as Diving too (THUMOS14).",
        ),
    ] = False,
    json_: Annotated[
        str | None, typer.Option("--json", help="Write JSON to this file, or - for stdout.")
    ] = None,
    plots: Annotated[
        Path | None, typer.Option(help="Folder for pictures; needs the extra named plots.")
    ] = None,
    plot_format: Annotated[
        Literal["png", "svg"], typer.Option(help="File format of the pictures.")
    ] = "png",
    errors: Annotated[
        bool, typer.Option("--errors", help="Say what the best-scored predictions get wrong.")
    ] = False,
    errors_tiou: Annotated[
        float, typer.Option(help="Threshold of the error analysis.", min=0.01, max=1.0)
    ] = 0.5,
    errors_lengths: Annotated[
        Literal["fifths", "thumos", "activitynet"],
        typer.Option(help="What XS to XL mean: fifths of the instances, or published borders."),
    ] = "fifths",
) -> None:
    """Score predictions against ground truth: average precision per class and tIoU."""
    if ambiguous is not None and protocol == "anet":
        message = "protocol anet knows no ambiguous stretches; choose wtalc or evalkit."
        raise typer.BadParameter(message, param_hint="--ambiguous")
    options = EvaluateOptions(
        predictions=predictions,
        ground_truth=ground_truth,
        protocol=protocol,
        tious=parse_tious(tiou),
        subset=subset,
        ambiguous=ambiguous,
        ignore_unknown_labels=ignore_unknown_labels,
        cliffdiving_as_diving=cliffdiving_as_diving,
        json_path=json_,
        plots=plots,
        plot_format=plot_format,
        errors=errors,
        errors_tiou=errors_tiou,
        errors_lengths=errors_lengths,
    )
    raise typer.Exit(run_evaluate(options))


def run_evaluate(options: EvaluateOptions) -> int:
    """Evaluate and report; return the exit status."""
    try:
        _evaluate(options)
    except PipelineError as error:
        sys.stderr.write(f"{error} [{error.code}]\n")
        return EXIT_INPUT if isinstance(error, InputError) else EXIT_MACHINE
    except OSError as error:
        sys.stderr.write(f"The output could not be written: {error}.\n")
        return EXIT_MACHINE
    except ModuleNotFoundError as error:
        sys.stderr.write(f"Pictures need {error.name}: pip install 'kinetag[plots]'.\n")
        return EXIT_MACHINE
    return 0


def _evaluate(options: EvaluateOptions) -> None:
    # Late, because the other commands of this command line do without numpy.
    from models.evaluation.errors import analyse_errors
    from models.evaluation.matching import match_detections
    from models.evaluation.scoring import score_matches

    inputs = _read(options)
    matches = match_detections(
        inputs.detections, inputs.instances, options.protocol, options.tious, inputs.ambiguous
    )
    result = score_matches(matches)
    analysis = (
        analyse_errors(
            inputs.detections, inputs.instances, options.errors_tiou, _length_borders(options)
        )
        if options.errors
        else None
    )
    document = {**result.to_json(), **inputs.facts}
    text = result.table() + "\n"
    if analysis is not None:
        document["errors"] = analysis.to_json()
        text += "\n" + analysis.table() + "\n"
    for note in inputs.notes:
        sys.stderr.write(f"note: {note}\n")
    if options.plots is not None:
        _draw(options, matches, analysis)
    rendered = json.dumps(document, indent=2, ensure_ascii=False) + "\n"
    if options.json_path not in {None, STDOUT}:
        write_text_atomic(Path(str(options.json_path)), rendered)
    sys.stdout.write(rendered if options.json_path == STDOUT else text)
    sys.stdout.flush()


def _read(options: EvaluateOptions) -> _Inputs:
    from models.evaluation.files import read_ambiguous, read_detections, read_ground_truth_file
    from models.evaluation.matching import MAX_NAMED_LABELS, unknown_labels
    from models.evaluation.protocols import PROTOCOLS, cliffdiving_as_diving

    truth = read_ground_truth_file(options.ground_truth, options.subset)
    everything = read_detections(options.predictions)
    if not everything:
        message = f"{options.predictions.name} holds no prediction, so there is nothing to score."
        raise EvaluationDataInvalid(message)
    detections = [one for one in everything if one.video not in truth.other_videos]
    notes: list[str] = []
    facts: dict[str, Any] = {"subset": options.subset}
    facts["videos_without_instances"] = len(truth.videos - {one.video for one in truth.instances})
    facts["predictions_of_other_subsets"] = len(everything) - len(detections)
    if len(detections) < len(everything):
        count = len(everything) - len(detections)
        notes.append(f"{count} predictions are of videos of other subsets and were left out.")
    if options.cliffdiving_as_diving:
        detections = cliffdiving_as_diving(detections)
    facts["cliffdiving_as_diving"] = options.cliffdiving_as_diving
    unknown = unknown_labels(detections, {one.label for one in truth.instances})
    if unknown and options.ignore_unknown_labels:
        detections = [one for one in detections if one.label not in unknown]
        named = ", ".join(unknown[:MAX_NAMED_LABELS])
        notes.append(
            f"predictions of {len(unknown)} labels the ground truth lacks were left out: "
            f"{named}{', ...' if len(unknown) > MAX_NAMED_LABELS else ''}"
        )
        facts["ignored_labels"] = list(unknown)
    strangers = [one for one in detections if one.video not in truth.videos]
    facts["predictions_of_unknown_videos"] = len(strangers)
    if strangers:
        notes.append(
            f"{len(strangers)} predictions are of videos the ground truth does not have, "
            f"{strangers[0].video} for instance; they count as false."
        )
    ambiguous = () if options.ambiguous is None else read_ambiguous(options.ambiguous)
    facts["ambiguous"] = len(ambiguous)
    if not ambiguous and PROTOCOLS[options.protocol].ambiguous != "unknown":
        notes.append(
            f"no --ambiguous file: published figures of {options.protocol} on THUMOS14 use one."
        )
    return _Inputs(detections, truth.instances, ambiguous, facts, tuple(notes))


def _length_borders(options: EvaluateOptions) -> tuple[float, ...] | None:
    from models.evaluation.errors import ACTIVITYNET_LENGTHS, THUMOS_LENGTHS

    published = {"thumos": THUMOS_LENGTHS, "activitynet": ACTIVITYNET_LENGTHS}
    return published.get(options.errors_lengths)


def _draw(options: EvaluateOptions, matches: "Matches", analysis: "ErrorAnalysis | None") -> None:
    from models.evaluation.pictures import draw_errors, draw_map, draw_precision_recall
    from models.evaluation.scoring import score_matches

    folder, ending = options.plots or Path(), options.plot_format
    draw_precision_recall(matches, folder / f"precision_recall.{ending}")
    draw_map(score_matches(matches), folder / f"average_precision.{ending}")
    if analysis is not None:
        draw_errors(analysis, folder / f"errors.{ending}")
