"""From activations to detections as an evaluator takes them: raw scores, labels by name."""

from models.config import ProposalSettings
from models.evaluation.records import Detection
from models.localize.segments import localize_activations
from models.timegrid import TimeGrid
from models.types import Activations


def detections_of(
    video: str, activations: Activations, grid: TimeGrid, settings: ProposalSettings
) -> list[Detection]:
    """Return one video's detections, best first; their scores are raw.

    Raises:
        ContractViolation: see `localize_activations`.
    """
    return [
        Detection(
            video,
            activations.classes[one.class_index],
            one.start_seconds,
            one.end_seconds,
            one.raw_score,
        )
        for one in localize_activations(activations, grid, settings)
    ]
