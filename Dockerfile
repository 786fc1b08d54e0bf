# syntax=docker/dockerfile:1
# Two images from one file:
#   docker build --target api    .   API and sweeper, without torch
#   docker build --target worker .   everything that looks at pixels, with CUDA torch
# Every Python package is installed at a locked version and checked against its hash.
# To pin the base image by content: --build-arg PYTHON_IMAGE=python@sha256:...
ARG PYTHON_IMAGE=python:3.12-slim-bookworm

FROM ${PYTHON_IMAGE} AS python
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 \
    PIP_NO_CACHE_DIR=1 \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1

# --- Kinetag's own wheel, with the native optical-flow kernel -------------------------------
FROM python AS build
SHELL ["/bin/bash", "-o", "pipefail", "-c"]
# Debian's mirrors keep the newest version of a package only, so a pinned one stops to exist.
# hadolint ignore=DL3008
RUN apt-get update \
    && apt-get install --yes --no-install-recommends g++ \
    && rm -rf /var/lib/apt/lists/*
WORKDIR /src
COPY requirements/build.txt requirements/build.txt
RUN python -m venv /opt/build \
    && /opt/build/bin/pip install --require-hashes --no-deps --only-binary :all: \
        -r requirements/build.txt
COPY pyproject.toml CMakeLists.txt README.md LICENSE NOTICE kinetag.py ./
COPY models models
COPY service service
COPY workers workers
# An image without the kernel would be many times slower and nobody would notice: refuse it.
RUN PATH=/opt/build/bin:$PATH /opt/build/bin/pip wheel --no-deps --no-build-isolation \
        --wheel-dir /wheels . \
    && /opt/build/bin/python -m zipfile --list /wheels/*.whl | grep -q 'models/flow/_tvl1'

# --- environments ---------------------------------------------------------------------------
FROM python AS api-environment
WORKDIR /src
COPY requirements/base.txt requirements/base.txt
RUN python -m venv /opt/kinetag \
    && /opt/kinetag/bin/pip install --require-hashes --no-deps --only-binary :all: \
        -r requirements/base.txt
COPY --from=build /wheels /wheels
RUN /opt/kinetag/bin/pip install --no-deps --no-index /wheels/*.whl

FROM python AS worker-environment
WORKDIR /src
COPY requirements/build.txt requirements/worker.txt requirements/
# fvcore, iopath and pytorchvideo exist as source only; the tools that build them leave again.
RUN python -m venv /opt/kinetag \
    && /opt/kinetag/bin/pip install --require-hashes --no-deps --only-binary :all: \
        -r requirements/build.txt \
    && /opt/kinetag/bin/pip install --require-hashes --no-deps --no-build-isolation \
        --only-binary :all: --no-binary fvcore,iopath,pytorchvideo -r requirements/worker.txt \
    && /opt/kinetag/bin/pip uninstall --yes cmake nanobind ninja scikit-build-core wheel
COPY --from=build /wheels /wheels
RUN /opt/kinetag/bin/pip install --no-deps --no-index /wheels/*.whl

# --- what runs ------------------------------------------------------------------------------
FROM python AS runtime
# A named volume mounted on /data takes over this folder's owner.
RUN groupadd --system --gid 10001 kinetag \
    && useradd --system --uid 10001 --gid kinetag --home-dir /data --shell /usr/sbin/nologin kinetag \
    && install --directory --owner=kinetag --group=kinetag --mode=0700 /data
ENV PATH=/opt/kinetag/bin:$PATH \
    KINETAG_DATA_DIR=/data \
    KINETAG_HOME=/data \
    XDG_CACHE_HOME=/tmp/cache
WORKDIR /data
VOLUME /data
STOPSIGNAL SIGTERM

FROM runtime AS api
COPY --from=api-environment /opt/kinetag /opt/kinetag
USER 10001:10001
EXPOSE 8000
HEALTHCHECK --interval=10s --timeout=5s --start-period=20s --retries=3 \
    CMD ["python", "-c", "import urllib.request as r; r.urlopen('http://127.0.0.1:8000/healthz', timeout=4)"]
CMD ["kinetag", "api"]

FROM runtime AS worker
# Triton compiles its launchers with a C compiler when flow first runs on a GPU; it caches them.
# hadolint ignore=DL3008
RUN apt-get update \
    && apt-get install --yes --no-install-recommends gcc libc6-dev \
    && rm -rf /var/lib/apt/lists/*
ENV TRITON_CACHE_DIR=/tmp/triton
COPY --from=worker-environment /opt/kinetag /opt/kinetag
# Read by the NVIDIA container runtime; without one the worker computes on the CPU.
ENV NVIDIA_VISIBLE_DEVICES=all \
    NVIDIA_DRIVER_CAPABILITIES=compute,utility,video
USER 10001:10001
# Healthy = it reaches the database, which is its queue. A worker that dies ends its container.
HEALTHCHECK --interval=30s --timeout=15s --start-period=60s --retries=3 \
    CMD ["python", "-c", "from service.settings import Settings; from service.jobs.store import create_engine_for as e; e(Settings().resolved_database_url).connect().close()"]
CMD ["kinetag", "worker"]
