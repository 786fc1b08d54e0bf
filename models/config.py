"""The settings that all heads share: frozen values; a preset holds all that decides a head.

A head's own settings and its presets stand in the head's file. Deployment settings live
elsewhere. A preset is complete: what it does not name does not happen.
"""

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields, is_dataclass
from typing import Any, Literal, TypeVar, get_type_hints

from models.errors import WeightsInvalid

Alignment = Literal["center", "start"]
NmsKind = Literal["hard", "soft", "soft_once", "contain"]
TrainSampling = Literal["crop", "perturb", "perturb_short", "full"]
Optimizer = Literal["adam", "sgd"]
ProposalSource = Literal["thresholds", "head"]
ProposalScore = Literal["oic", "contrast"]
ContrastTerms = Literal["all", "action", "edges"]
TestSampling = Literal["native", "uniform", "uniform_short"]

NINE_THRESHOLDS = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9)


@dataclass(frozen=True, slots=True)
class OicSettings:
    """Outer-inner contrast, all published variants.

    Attributes:
        margin_ratio: width of each margin as a share of the proposal, >= 0.
        min_margin: smallest margin in samples of the scored sequence, >= 0.
        class_bonus: weight of the class's video score added to the contrast, >= 0.
        thresholded: score a sequence that is set to zero at and below the proposal's threshold.
        nominal_margin: divide the margins' sum by their full width even where the sequence ends.
        min_length: shortest run in samples that becomes a proposal, >= 1.
        binary_bonus: every localized class counts with a video score of 1 in the bonus.
        trailing_sample: the proposal and its inside take one sample past the run, the margins keep
            the run's width, and the sequence's last sample never counts as outside.

    Source: BaS-Net, CoLA, AICL, ACM-Net, CMCS and TSSA differ in exactly these values; BaS-Net's
    code for ``binary_bonus``, RSKP's for ``trailing_sample``: slips that only repeat its numbers.
    """

    margin_ratio: float = 0.25
    min_margin: float = 0.0
    class_bonus: float = 0.2
    thresholded: bool = False
    nominal_margin: bool = False
    min_length: int = 1
    binary_bonus: bool = False
    trailing_sample: bool = False


@dataclass(frozen=True, slots=True)
class ContrastSettings:
    """The contrast score of CleanNet: action inside, rising and falling edges, quiet outside.

    Attributes:
        window: snippets in which the highest and the lowest value make an edge, odd.
        margin_ratio: by how much an interval is inflated and deflated on each side, as a share of
            its length, in (0, 0.5).
        terms: ``all`` is s_a + (s_s + s_e) / 2; ``action`` is s_a alone, ``edges`` s_s + s_e.

    Source: CleanNet (ICCV 2019), equations 6 to 12; ``terms`` are rows of its ablation.
    """

    window: int = 7
    margin_ratio: float = 0.25
    terms: ContrastTerms = "all"


@dataclass(frozen=True, slots=True)
class NmsSettings:
    """Suppression of overlapping proposals of one class.

    Attributes:
        kind: ``hard`` drops, ``soft`` decays and ranks again (Gaussian), ``soft_once`` emits a
            suppressed interval once with a decayed score and never looks at it again, ``contain``
            drops intervals that lie mostly inside a better one.
        threshold: overlap from which an interval is suppressed, in [0, 1].
        alpha: width of the Gaussian of both soft kinds, > 0.
        plus_one: add one to lengths and intersections, as published code does.
        plus_unit: of that one.

    Source: Soft-NMS (ICCV 2017) for ``soft``; ASL and AICL for ``soft_once``; RSKP for
    ``contain`` (in snippets); ``plus_one`` is the pixel habit of BaS-Net, CoLA, ASL and AICL.
    """

    kind: NmsKind = "hard"
    threshold: float = 0.4
    alpha: float = 0.35
    plus_one: bool = False
    plus_unit: Literal["seconds", "snippets"] = "seconds"


@dataclass(frozen=True, slots=True)
class ProposalSettings:
    """From activations to proposals.

    Attributes:
        source: ``thresholds`` cuts the localization sequence; ``head`` takes the intervals that
            the head itself proposes and scores.
        thresholds: cuts of the localization sequence; a sample above the cut is inside.
        attention_thresholds: cuts of the attention; their runs are candidates of every localized
            class and are scored on its uncut scoring sequence.
        attention_bonus: added to the class bonus of these runs.
        widen_samples: size of a window by which runs are dilated; runs that meet become one.
        class_threshold: classes whose video score reaches this are localized.
        allow_empty: an empty answer is allowed; False forces the best class when none passes.
        align: a snippet's value stands at its window's ``center`` or at its ``start``.
        upsample: samples per snippet, linear interpolation.
        score: ``oic`` is outer-inner contrast of runs, a head's intervals keep the scores it gave;
            ``contrast`` gives either CleanNet's contrast score on the scoring sequence.
        min_raw_score: proposals scored below this are left out.
        class_min_scores: the same for each class, in their order; empty for none.
        max_per_class: at most so many proposals of one class in one video, the best; 0 for all.
        oic, contrast, nms: see there.

    Source: CoLA and ACM-Net for ``attention_thresholds``, ACM-Net on ActivityNet for
    ``attention_bonus``, CMCS for ``widen_samples``.
    """

    source: ProposalSource = "thresholds"
    thresholds: tuple[float, ...] = NINE_THRESHOLDS
    attention_thresholds: tuple[float, ...] = ()
    attention_bonus: float = 0.0
    widen_samples: int = 1
    class_threshold: float = 0.15
    allow_empty: bool = True
    align: Alignment = "center"
    upsample: int = 24
    score: ProposalScore = "oic"
    min_raw_score: float = -1.0
    class_min_scores: tuple[float, ...] = ()
    max_per_class: int = 0
    oic: OicSettings = OicSettings()
    contrast: ContrastSettings = ContrastSettings()
    nms: NmsSettings = NmsSettings()


@dataclass(frozen=True, slots=True)
class HeadSettings:
    """Base of every head's own settings, which stand in the head's file."""


@dataclass(frozen=True, slots=True)
class TrainingSettings:
    """One stage of training.

    Attributes:
        stage: name that the head knows it by.
        steps: optimiser steps.
        epochs: where > 0, ``steps`` is not used: so many passes over the videos instead.
        batch_size: videos per batch, at most the number of videos.
        accumulate: batches whose gradients are summed before an optimiser step.
        num_snippets: T of a training sample.
        sampling: ``crop`` = native spacing, a random crop or padding; ``perturb`` = T jittered
            positions over the whole video, repeating snippets of short ones; ``perturb_short`` =
            the same for long videos, and T draws with repetition from short ones; ``full`` = every
            snippet of the video.
        optimizer: ``adam``, or ``sgd`` with ``momentum``.
        learning_rate, beta1, beta2, weight_decay: of the optimiser.
        decay_every: optimiser steps after which the learning rate is divided by 10; 0 for never.
        standardize: subtract the training features' mean and divide by their deviation. Read
            from the first stage.
        log_every: steps between log records.

    Source: BaS-Net, CoLA, ASL and AICL for ``perturb``; ACM-Net for ``perturb_short``; RSKP for
    ``full`` with accumulation.
    """

    stage: str = "main"
    steps: int = 400
    epochs: int = 0
    batch_size: int = 16
    accumulate: int = 1
    num_snippets: int = 64
    sampling: TrainSampling = "crop"
    optimizer: Optimizer = "adam"
    learning_rate: float = 1e-3
    beta1: float = 0.9
    beta2: float = 0.999
    momentum: float = 0.9
    weight_decay: float = 0.0
    decay_every: int = 0
    standardize: bool = True
    log_every: int = 20

    def num_steps(self, num_videos: int) -> int:
        """Return the optimiser steps of this stage on so many videos."""
        if self.epochs > 0:
            return self.epochs * self.steps_per_epoch(num_videos)
        return self.steps

    def steps_per_epoch(self, num_videos: int) -> int:
        """Return the optimiser steps in which every video is seen about once."""
        per_step = min(self.batch_size, num_videos) * self.accumulate
        return max(1, math.ceil(num_videos / per_step))


@dataclass(frozen=True, slots=True)
class InferenceSettings:
    """How a head is fed at inference.

    Attributes:
        sampling: ``native`` = every snippet at its own place; ``uniform`` = stretched or thinned
            to ``num_snippets``; ``uniform_short`` = thinned only when longer.
        num_snippets: T of the two uniform kinds.
        window_snippets: longest native stretch seen at once.
        overlap_snippets: of neighbouring windows, cross-faded; less than a window.
    """

    sampling: TestSampling = "native"
    num_snippets: int = 750
    window_snippets: int = 64
    overlap_snippets: int = 32


@dataclass(frozen=True, slots=True)
class Preset:
    """Everything that decides a trained head beside its data and seed.

    Attributes:
        name: for instance ``small``.
        head: of the network and its losses.
        stages: trained one after the other, at least one.
        inference: how the head is fed.
        proposals: how its activations become segments.
    """

    name: str
    head: HeadSettings
    stages: tuple[TrainingSettings, ...] = (TrainingSettings(),)
    inference: InferenceSettings = InferenceSettings()
    proposals: ProposalSettings = ProposalSettings()

    @property
    def training(self) -> TrainingSettings:
        """The last stage."""
        return self.stages[-1]


AnySettings = HeadSettings | ProposalSettings | TrainingSettings | InferenceSettings
SettingsType = TypeVar("SettingsType")


def settings_to_json(settings: AnySettings) -> dict[str, Any]:
    """Return a settings dataclass as a JSON object; `settings_from_json` restores it."""
    document: dict[str, Any] = asdict(settings)
    return document


def settings_from_json(kind: type[SettingsType], document: Mapping[str, Any]) -> SettingsType:
    """Restore a settings dataclass; a missing field takes its default.

    Raises:
        WeightsInvalid: the document holds a field that this release does not know.
    """
    hints = get_type_hints(kind)
    known = {field.name for field in fields(kind)}  # type: ignore[arg-type]  # a dataclass type
    unknown = sorted(set(document) - known)
    if unknown:
        message = (
            f"The model card has settings unknown to this release ({', '.join(unknown)} in "
            f"{kind.__name__}); update Kinetag or train the model again."
        )
        raise WeightsInvalid(message)
    values: dict[str, Any] = {}
    for name, value in document.items():
        hint = hints[name]
        if is_dataclass(hint) and isinstance(value, Mapping):
            values[name] = settings_from_json(hint, value)  # type: ignore[arg-type]  # narrowed
        elif isinstance(value, list):
            values[name] = tuple(value)
        else:
            values[name] = value
    return kind(**values)
