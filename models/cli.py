"""The command line of the science: localize, train, evaluate, models. Arguments are parsed here.

Results go to stdout, everything for people to stderr. Exit status, the highest that occurred:
0 all good, 2 wrong usage, 3 an input could not be used, 4 model or weights, 5 the machine,
130 interrupted.
"""

import sys
from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from models.commands.catalog import models_app
from models.commands.evaluate import evaluate_command
from models.errors import (
    InputError,
    OptionInvalid,
    PipelineError,
    WeightsError,
)
from models.overrides import LocalizeOverrides
from models.speeds import SPEEDS

EXIT_USAGE = 2
EXIT_INPUT = 3
EXIT_WEIGHTS = 4
EXIT_MACHINE = 5
EXIT_INTERRUPTED = 130

app = typer.Typer(no_args_is_help=True, add_completion=False)
app.add_typer(models_app, name="models")
app.command("evaluate")(evaluate_command)


def exit_status(error: PipelineError) -> int:
    """Return the exit status that says who must act."""
    if isinstance(error, OptionInvalid):
        return EXIT_USAGE
    if isinstance(error, InputError):
        return EXIT_INPUT
    if isinstance(error, WeightsError):
        return EXIT_WEIGHTS
    return EXIT_MACHINE


HomeOption = Annotated[
    Path,
    typer.Option(
        "--home",
        envvar="KINETAG_HOME",
        help="Folder of Kinetag's models, weights and stored features.",
    ),
]
DEFAULT_HOME = Path(typer.get_app_dir("kinetag"))
OWN: dict[str, Any] = {"show_default": "the model's own"}


@app.command()
def localize(  # noqa: PLR0913 - a command line's options are its parameters
    files: Annotated[
        list[Path] | None, typer.Argument(help="Video files.", show_default=False)
    ] = None,
    model: Annotated[
        str, typer.Option(help="NAME[@VERSION][:SPEED]; see `kinetag models list`.")
    ] = "kinetag-demo",
    speed: Annotated[
        Literal["exact", "fast", "rgb-only"] | None,
        typer.Option(help="How features are made; docs/speeds.md. Default: the model's own."),
    ] = None,
    label: Annotated[
        list[str] | None, typer.Option(help="Only segments of this label; repeat it for more.")
    ] = None,
    min_score: Annotated[
        float, typer.Option(help="Only segments of at least this score, 0 to 1.")
    ] = 0.0,
    class_threshold: Annotated[
        float | None,
        typer.Option(help="Video score, 0 to 1, from which a class is looked for.", **OWN),
    ] = None,
    threshold: Annotated[
        list[float] | None,
        typer.Option(help="Cut level of the activations, 0 to 1; repeat it for more.", **OWN),
    ] = None,
    min_raw_score: Annotated[
        float | None,
        typer.Option(help="Segments with a lower raw score, -2 to 2, are dropped.", **OWN),
    ] = None,
    nms: Annotated[
        Literal["hard", "soft", "soft_once", "contain"] | None,
        typer.Option(help="How overlapping segments of one label are suppressed.", **OWN),
    ] = None,
    nms_threshold: Annotated[
        float | None, typer.Option(help="Overlap, 0.01 to 1, from which they are.", **OWN)
    ] = None,
    nms_alpha: Annotated[
        float | None, typer.Option(help="Of soft and soft_once, 0.01 to 10.", **OWN)
    ] = None,
    window_overlap: Annotated[
        float | None,
        typer.Option(help="Share, 0 to 0.9, that windows of a long video share.", **OWN),
    ] = None,
    format_: Annotated[
        Literal["native", "activitynet", "csv", "jsonl", "webvtt", "labelstudio", "fiftyone"],
        typer.Option("--format", help="Output format; docs/formats.md."),
    ] = "native",
    output: Annotated[
        str, typer.Option(help="Folder for one file per input, or - for stdout.")
    ] = "-",
    plot: Annotated[
        str | None,
        typer.Option(
            help="Draw the timeline too: FILE.svg, FILE.png, or a folder; docs/pictures.md.",
            show_default=False,
        ),
    ] = None,
    device: Annotated[
        Literal["auto", "cpu", "cuda"], typer.Option(help="Where to compute.")
    ] = "auto",
    precision: Annotated[
        Literal["auto", "fp32", "bf16"],
        typer.Option(help="Of the backbones; auto: bf16 where it is fast and exact enough."),
    ] = "auto",
    json_: Annotated[
        bool, typer.Option("--json", help="For machines: errors as JSON in the place of results.")
    ] = False,
    store: Annotated[
        bool, typer.Option(help="Keep features, so that a second model on a video is quick.")
    ] = True,
    features: Annotated[
        Path | None,
        typer.Option(help="In the place of files: a folder of features; one ActivityNet result."),
    ] = None,
    subset: Annotated[str | None, typer.Option(help="With --features: only this subset.")] = None,
    keep_all: Annotated[
        bool, typer.Option("--keep-all", help="With --features: no threshold, to measure mAP.")
    ] = False,
    home: HomeOption = DEFAULT_HOME,
    debug: Annotated[bool, typer.Option(help="Show the traceback of an error.")] = False,
) -> None:
    """Find timed actions in videos and print them as JSON, one object per input."""
    if bool(files) == (features is not None):
        message = "give either video files or --features DIR"
        raise typer.BadParameter(message)
    overrides = _overrides(
        labels=label,
        min_score=min_score,
        class_threshold=class_threshold,
        thresholds=threshold,
        min_raw_score=min_raw_score,
        nms={"kind": nms, "threshold": nms_threshold, "alpha": nms_alpha},
        window_overlap=window_overlap,
    )
    if features is not None:
        if overrides != LocalizeOverrides():
            message = "options that change a localization go with video files, not with --features"
            raise typer.BadParameter(message)
        if plot is not None:
            message = "--plot goes with video files, not with --features"
            raise typer.BadParameter(message)
        from models.commands.localize_features import (  # noqa: PLC0415 - loads torch
            FeatureOptions,
            run_localize_features,
        )

        folder = None if output == "-" else Path(output)
        wish = FeatureOptions(
            features, subset, model, speed or "", folder, keep_all, home, json_, debug
        )
        raise typer.Exit(run_localize_features(wish, exit_status))
    from models.commands.localize import LocalizeOptions, run_localize  # noqa: PLC0415 - loads torch
    from models.commands.localize_plot import PlotTarget, PlotTargetError  # noqa: PLC0415 - likewise

    try:
        target = None if plot is None else PlotTarget.parse(plot, len(files or ()))
    except PlotTargetError as error:
        raise typer.BadParameter(str(error)) from error
    options = LocalizeOptions(
        files=tuple(files or ()),
        model=model,
        speed=speed or "",
        overrides=overrides,
        export=format_,
        output=None if output == "-" else Path(output),
        device=device,
        precision=precision,
        errors_as_json=json_,
        store=store,
        home=home,
        debug=debug,
        plot=target,
    )
    try:
        status = run_localize(options, exit_status)
    except KeyboardInterrupt:
        sys.stderr.write("interrupted\n")
        status = EXIT_INTERRUPTED
    raise typer.Exit(status)


def _overrides(**options: object) -> LocalizeOverrides:
    try:
        return LocalizeOverrides.from_json(options)
    except OptionInvalid as error:
        raise typer.BadParameter(str(error)) from error


@app.command()
def train(  # noqa: PLR0913 - a command line's options are its parameters
    method: Annotated[str, typer.Option(help="dcc, tssa, aicl, cleannet, issf, or all of them.")],
    tags: Annotated[
        Path, typer.Option(help="Whole-video tags: CSV video,label; JSON lines; ActivityNet JSON.")
    ],
    out: Annotated[Path, typer.Option(help="Folder for the model.")],
    features: Annotated[Path | None, typer.Option(help="Folder of features; docs/data.md.")] = None,
    videos: Annotated[Path | None, typer.Option(help="Folder of videos to extract first.")] = None,
    preset: Annotated[str, typer.Option(help="small, thumos14 or activitynet1.3.")] = "small",
    set_: Annotated[
        list[str] | None, typer.Option("--set", help="KEY=VALUE, one setting changed; repeat it.")
    ] = None,
    seed: Annotated[int, typer.Option(min=0, help="Same seed, same weights on one CPU.")] = 0,
    holdout: Annotated[
        float,
        typer.Option(min=0.0, max=0.5, help="Share of videos whose tags choose the checkpoint."),
    ] = 0.1,
    subset: Annotated[str | None, typer.Option(help="Of the tags, where they state one.")] = None,
    name: Annotated[str | None, typer.Option(help="Of the model; default: --out's name.")] = None,
    backbone: Annotated[
        str, typer.Option(help="With --videos: the model whose feature backbones are used.")
    ] = "kinetag-demo",
    speed: Annotated[
        list[str] | None,
        typer.Option(help="With --videos: exact, fast, rgb-only; repeat it for a head each."),
    ] = None,
    device: Annotated[
        Literal["auto", "cpu", "cuda"], typer.Option(help="Where to compute.")
    ] = "auto",
    threads: Annotated[int, typer.Option(min=0, help="Of the CPU; 0 takes all.")] = 0,
    resume: Annotated[bool, typer.Option(help="Go on from the checkpoint in --out.")] = False,
    compare: Annotated[
        bool, typer.Option(help="With --method all: the table is printed in any case.")
    ] = False,
    install: Annotated[
        bool, typer.Option(help="Make the model known to `--model NAME` and the service.")
    ] = True,
    json_: Annotated[bool, typer.Option("--json", help="For machines.")] = False,
    home: HomeOption = DEFAULT_HOME,
    debug: Annotated[bool, typer.Option(help="Show the traceback of an error.")] = False,
) -> None:
    """Train a head from whole-video tags; no timestamps are needed or read."""
    if (features is None) == (videos is None):
        message = "give either --features DIR or --videos DIR"
        raise typer.BadParameter(message)
    if speed and videos is None:
        message = "--speed goes with --videos: stored features are as fast as they were made"
        raise typer.BadParameter(message)
    unknown = [one for one in speed or () if one not in SPEEDS]
    if unknown:
        message = f"{unknown[0]!r} is no speed; choose {', '.join(SPEEDS)}"
        raise typer.BadParameter(message)
    if compare and method != "all":
        message = "--compare goes with --method all"
        raise typer.BadParameter(message)
    from models.commands.train import TrainOptions, run_train, set_threads  # noqa: PLC0415 - torch

    set_threads(threads)
    options = TrainOptions(
        method=method,
        features=features,
        videos=videos,
        tags=tags,
        subset=subset,
        out=out,
        name=name,
        preset=preset,
        assignments=tuple(set_ or ()),
        seed=seed,
        holdout=holdout,
        backbone=backbone,
        speeds=tuple(speed or ()),
        device=device,
        resume=resume,
        install=install,
        as_json=json_,
        home=home,
        debug=debug,
    )
    try:
        status = run_train(options, exit_status)
    except KeyboardInterrupt:
        sys.stderr.write("interrupted; --resume goes on from the last checkpoint\n")
        status = EXIT_INTERRUPTED
    raise typer.Exit(status)
