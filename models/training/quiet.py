"""How often a head claims an action where tags say there is none."""

from models.config import ProposalSettings
from models.localize.segments import localize_activations
from models.prediction import predict
from models.training.tags import TaggedDataset
from models.training.train import TrainedHead
from models.types import FeatureSet

SECONDS_PER_HOUR = 3600.0


def false_segments_per_hour(
    trained: TrainedHead, dataset: TaggedDataset, settings: ProposalSettings
) -> float | None:
    """Return segments per hour in the dataset's videos without any tag; None without such videos.

    Held-out background videos are used where there are any, else those of training.
    """
    quiet = [index for index in range(len(dataset.ids)) if not dataset.labels[index].any()]
    unseen = [index for index in quiet if index in set(trained.held_out_videos.tolist())]
    count, seconds = 0, 0.0
    for index in unseen or quiet:
        values, recipe = dataset.features[index], dataset.recipe
        frames = (len(values) - 1) * recipe.stride_frames + recipe.window_frames
        grid = recipe.grid(frames / recipe.fps)
        features = FeatureSet(values, grid.snippet_seconds(), recipe.digest, grid.duration_seconds)
        count += len(localize_activations(predict(trained, features), grid, settings))
        seconds += grid.duration_seconds
    return round(count * SECONDS_PER_HOUR / seconds, 2) if seconds > 0 else None
