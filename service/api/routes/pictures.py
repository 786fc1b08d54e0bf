"""/v1/jobs/{id}/timeline: a timeline as a picture."""

from fastapi import APIRouter

from service.api.deps import SecuredRoute
from service.api.schemas import PROBLEMS

router = APIRouter(
    prefix="/v1/jobs", tags=["results"], responses=PROBLEMS, route_class=SecuredRoute
)
