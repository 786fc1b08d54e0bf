"""/v1/segments: segments of all jobs, found by what they are."""

from fastapi import APIRouter

from service.api.deps import SecuredRoute
from service.api.schemas import PROBLEMS

router = APIRouter(
    prefix="/v1/segments", tags=["segments"], responses=PROBLEMS, route_class=SecuredRoute
)
