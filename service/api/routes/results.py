"""/v1/jobs: segments in every format, activations, other thresholds."""

from fastapi import APIRouter

from service.api.schemas import PROBLEMS

router = APIRouter(prefix="/v1/jobs", tags=["results"], responses=PROBLEMS)
