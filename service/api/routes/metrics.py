"""/metrics: figures for Prometheus."""

from fastapi import APIRouter

from service.api.schemas import PROBLEMS

router = APIRouter(tags=["metrics"], responses=PROBLEMS)
