"""/v1/uploads: Resumable uploads by tus 1.0."""

from fastapi import APIRouter

from service.api.schemas import PROBLEMS

router = APIRouter(prefix="/v1/uploads", tags=["uploads"], responses=PROBLEMS)
