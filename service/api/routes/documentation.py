"""/docs: the interface, for people."""

from fastapi import APIRouter

from service.api.deps import SecuredRoute
from service.api.schemas import PROBLEMS

router = APIRouter(tags=["documentation"], responses=PROBLEMS, route_class=SecuredRoute)
