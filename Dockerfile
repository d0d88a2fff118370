#   docker build -t lad .
#   docker run --rm --gpus all --user "$(id -u):$(id -g)" -v "$PWD:/work" -v lad-cache:/cache \
#       lad score --checkpoint best.pt video.mp4
# The torch wheels contain the CUDA libraries (CUDA 13). The host provides a driver that is new enough for them, through the
# NVIDIA container toolkit. Without a GPU the same image runs on the CPU. An image for CPUs alone is a third of its size: its
# torch is the build without CUDA, which lies in an index of its own (docs/install.md):
#   docker build -t lad-cpu --build-arg TORCH=cpu --build-arg PIP_EXTRA_INDEX_URL=ADDRESS .
ARG BASE_IMAGE=debian:bookworm-slim
FROM ${BASE_IMAGE}

RUN apt-get update \
 && DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends ca-certificates python3 python3-venv \
 && rm -rf /var/lib/apt/lists/*

# Layers that do not depend on the code come first, so that a rebuild after a change is quick.
WORKDIR /opt/lad
ARG TORCH=
ARG PIP_EXTRA_INDEX_URL=
COPY pyproject.toml constraints.txt README.md LICENSE ./
COPY lad/__init__.py lad/version.py lad/
RUN sed -E -i "s/^(torch|torchvision)==.*/&${TORCH:++$TORCH}/" constraints.txt \
 && python3 -m venv /opt/venv \
 && /opt/venv/bin/pip install --no-cache-dir --disable-pip-version-check --use-pep517 -c constraints.txt \
      '.[plots,tensorboard,review,watch,remote,ray]' \
 && /opt/venv/bin/pip uninstall -y lad-video
COPY lad lad
COPY configs configs
RUN /opt/venv/bin/pip install --no-cache-dir --disable-pip-version-check --no-deps .

ENV PATH=/opt/venv/bin:$PATH \
    PYTHONUNBUFFERED=1 \
    LAD_CACHE=/cache \
    MPLCONFIGDIR=/tmp/matplotlib \
    NVIDIA_VISIBLE_DEVICES=all \
    NVIDIA_DRIVER_CAPABILITIES=compute,utility

RUN useradd --create-home --uid 1000 lad \
 && install -d -o lad -g lad -m 1777 /cache /work
USER lad
WORKDIR /work
VOLUME ["/cache"]
ENTRYPOINT ["lad"]
CMD ["--help"]
