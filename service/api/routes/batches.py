"""/v1/batches: many videos at once."""

from fastapi import APIRouter

from service.api.deps import SecuredRoute
from service.api.schemas import PROBLEMS

router = APIRouter(
    prefix="/v1/batches", tags=["batches"], responses=PROBLEMS, route_class=SecuredRoute
)
