# The image of a node, and of the testnet's one-shot commands.
#
#   docker build -t p2pledger .
#
# Exact versions of all Python packages come from constraints.txt. For a base image that cannot move, give its
# digest: --build-arg PYTHON_IMAGE=python:3.11-slim@sha256:...
# A node that sends traces: --build-arg EXTRAS=traces.
# A package index of your own: --build-arg PIP_INDEX_URL=... (pip's variables; they stay in the builder's stages).
ARG PYTHON_IMAGE=python:3.11-slim

# --- with a compiler: libp2p needs fastecdsa, which is built from source ----------------------------------
FROM ${PYTHON_IMAGE} AS builder
RUN apt-get update \
 && apt-get install -y --no-install-recommends gcc libc6-dev libgmp-dev \
 && apt-get clean \
 && rm -rf /var/lib/apt/lists/*
ARG PIP_INDEX_URL
ARG PIP_EXTRA_INDEX_URL
ARG PIP_TRUSTED_HOST
ARG PIP_CERT
ARG PIP_DEFAULT_TIMEOUT
# The lock holds for what builds the packages, too.
ENV PIP_CONSTRAINT=/src/constraints.txt \
    PIP_DISABLE_PIP_VERSION_CHECK=1 \
    PIP_NO_CACHE_DIR=1 \
    PIP_ROOT_USER_ACTION=ignore
WORKDIR /src
RUN python -m venv --without-pip /opt/p2pledger
# Dependencies have a layer of their own, which a change of the source leaves as it is.
COPY constraints.txt pyproject.toml ./
RUN python -c "import tomllib; print(*tomllib.load(open('pyproject.toml', 'rb'))['project']['dependencies'], sep='\n')" \
    > dependencies.txt \
 && python -m pip --python /opt/p2pledger install --quiet -r dependencies.txt
# Extras that are named come after it, from the same lock: --build-arg EXTRAS=traces. Without one nothing is added.
ARG EXTRAS=""
RUN test -z "$EXTRAS" || { \
      python -c "import os, tomllib; \
extras = tomllib.load(open('pyproject.toml', 'rb'))['project']['optional-dependencies']; \
print(*(line for name in os.environ['EXTRAS'].split(',') if name for line in extras[name]), sep='\n')" > extras.txt \
   && python -m pip --python /opt/p2pledger install --quiet -r extras.txt; \
    }
COPY README.md ./
COPY p2pledger p2pledger
COPY testnet/data testnet/data
RUN python -m pip --python /opt/p2pledger install --quiet --no-deps .

# --- what runs: no compiler, no headers, no pip of its own, no root ---------------------------------------
FROM ${PYTHON_IMAGE} AS node
RUN apt-get update \
 && apt-get install -y --no-install-recommends libgmp10 libjemalloc2 \
 && apt-get clean \
 && rm -rf /var/lib/apt/lists/* \
 && groupadd --gid 10001 p2pledger \
 && useradd --uid 10001 --gid 10001 --no-create-home --home-dir /var/lib/p2pledger --shell /usr/sbin/nologin p2pledger \
 && install -d -o 10001 -g 10001 -m 0700 /var/lib/p2pledger
COPY --from=builder /opt/p2pledger /opt/p2pledger
ENV PATH=/opt/p2pledger/bin:$PATH \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1
# The allocator, as p2pledger/allocator.py has it and says why.
ENV LD_PRELOAD=libjemalloc.so.2 \
    PYTHONMALLOC=malloc \
    MALLOC_CONF=narenas:1,dirty_decay_ms:-1,thp:always
ARG VERSION=0.1.0
ARG REVISION=unknown
LABEL org.opencontainers.image.title="p2pledger" \
      org.opencontainers.image.description="A permissioned ledger that a city can run without an owner" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}"
USER 10001:10001
WORKDIR /var/lib/p2pledger
EXPOSE 7100 7130 7160
STOPSIGNAL SIGTERM
# In sync and taking transactions. Started by its module: the whole command takes three times as long to load.
HEALTHCHECK --interval=5s --timeout=10s --start-period=60s --retries=5 \
    CMD ["python", "-m", "p2pledger.healthcheck"]
ENTRYPOINT ["p2pledger"]
CMD ["--help"]

# --- the same with the homes of a compose testnet: a new volume belongs to whom the directory under it does --
FROM node AS testnet
USER 0:0
RUN for name in authority-1 authority-2 authority-3 authority-4 gateway-1 gateway-2; do \
      install -d -o 10001 -g 10001 -m 0700 /net "/net/$name" || exit 1; \
    done
USER 10001:10001
WORKDIR /net

# --- made when no --target is named ---------------------------------------------------------------------
FROM node
