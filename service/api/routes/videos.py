"""/v1/videos: videos, their bytes and thumbnails."""

from fastapi import APIRouter

from service.api.deps import SecuredRoute
from service.api.schemas import PROBLEMS

router = APIRouter(
    prefix="/v1/videos", tags=["videos"], responses=PROBLEMS, route_class=SecuredRoute
)
