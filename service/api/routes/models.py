"""/v1/models: what jobs can name."""

from fastapi import APIRouter

from service.api.deps import JobsRead, SecuredRoute
from service.api.schemas import PROBLEMS, ModelBody, ModelList
from service.cards import ModelSummary, find_model, list_models
from service.errors import UnknownModel

router = APIRouter(
    prefix="/v1/models", tags=["models"], responses=PROBLEMS, route_class=SecuredRoute
)


@router.get("")
def get_models(context: JobsRead) -> ModelList:
    """List the installed models, bundled and own."""
    folders = context.settings.model_folders
    try:
        default = find_model(context.settings.default_model, folders)[0].identity
    except UnknownModel:
        default = ""
    return ModelList(models=[_body(model, default) for model in list_models(folders)])


def _body(model: ModelSummary, default: str) -> ModelBody:
    return ModelBody(
        id=model.identity,
        name=model.name,
        version=model.version,
        method=model.method,
        classes=list(model.classes),
        recipe=model.recipe_digest,
        speeds=list(model.speeds),
        licence=model.licence,
        metrics=model.metrics,
        warnings=list(model.warnings),
        default=model.identity == default,
    )
