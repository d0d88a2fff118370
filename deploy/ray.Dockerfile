# The image `lad` as head and worker of a Ray cluster:
#   docker build -t lad . && docker build -t lad-ray -f deploy/ray.Dockerfile .
# Ray's own extra is what its head needs for jobs and a growing cluster. KubeRay asks with wget whether Ray is well.
ARG BASE_IMAGE=lad
FROM ${BASE_IMAGE}
USER root
RUN apt-get update \
 && DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends wget \
 && rm -rf /var/lib/apt/lists/*
RUN /opt/venv/bin/pip install --no-cache-dir --disable-pip-version-check -c /opt/lad/constraints.txt 'ray[default]'
USER lad
ENTRYPOINT []
CMD ["bash"]
