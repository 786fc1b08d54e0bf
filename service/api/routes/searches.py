"""/v1/searches: searches that are kept, and that webhooks tell of."""

from fastapi import APIRouter

from service.api.deps import SecuredRoute
from service.api.schemas import PROBLEMS

router = APIRouter(
    prefix="/v1/searches", tags=["searches"], responses=PROBLEMS, route_class=SecuredRoute
)
