"""/v1: API keys and usage."""

from fastapi import APIRouter

from service.api.schemas import PROBLEMS

router = APIRouter(prefix="/v1", tags=["keys"], responses=PROBLEMS)
