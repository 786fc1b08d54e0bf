"""/v1/webhooks: who is told of what, and what was sent."""

from fastapi import APIRouter

from service.api.schemas import PROBLEMS

router = APIRouter(prefix="/v1/webhooks", tags=["webhooks"], responses=PROBLEMS)
