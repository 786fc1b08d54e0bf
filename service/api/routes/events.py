"""/v1: what happens, as server-sent events."""

from fastapi import APIRouter

from service.api.schemas import PROBLEMS

router = APIRouter(prefix="/v1", tags=["events"], responses=PROBLEMS)
