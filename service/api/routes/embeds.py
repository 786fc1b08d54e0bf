"""Embed tokens, tickets for media, and /embed/{job}."""

from fastapi import APIRouter

from service.api.deps import SecuredRoute
from service.api.schemas import PROBLEMS

router = APIRouter(tags=["embeds"], responses=PROBLEMS, route_class=SecuredRoute)
