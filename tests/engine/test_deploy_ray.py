"""The Ray files of `deploy/`: what Ray says of them, and that they fit each other and `lad`."""

from __future__ import annotations

import copy
import re
import shlex
from typing import Any

import click
import pytest
import yaml
from helpers.places import REPOSITORY

from lad.cli import cli

DEPLOY = REPOSITORY / "deploy"
README = (DEPLOY / "README.md").read_text()
# The fields of KubeRay 1.5.1 that are used, of those in https://ray-project.github.io/kuberay/reference/api/
JOB = {"entrypoint", "backoffLimit", "shutdownAfterJobFinishes", "ttlSecondsAfterFinished", "rayClusterSpec"}
CLUSTER = {"rayVersion", "enableInTreeAutoscaling", "authOptions", "headGroupSpec", "workerGroupSpecs"}
WORKERS = {"groupName", "replicas", "minReplicas", "maxReplicas", "rayStartParams", "template"}


@pytest.fixture
def job() -> dict[str, Any]:
    return yaml.safe_load((DEPLOY / "ray-job.yaml").read_text())


def pods(job: dict[str, Any]) -> list[dict[str, Any]]:
    cluster = job["spec"]["rayClusterSpec"]
    return [group["template"]["spec"] for group in (cluster["headGroupSpec"], *cluster["workerGroupSpecs"])]


def pinned_ray() -> str:
    (version,) = re.findall(r"^ray==(\S+)", (REPOSITORY / "constraints.txt").read_text(), re.MULTILINE)
    return version


def options_of(command: str) -> dict[str, Any]:
    """The options of a `lad` command line, as `lad` knows them; fails for one that it does not know."""
    program, name, *words = shlex.split(command)
    assert program == "lad"
    found = cli.commands[name]
    return found.make_parser(click.Context(found)).parse_args(words)[0]


def test_ray_finds_nothing_wrong_with_its_cluster():
    pytest.importorskip("ray", reason="NO RAY: deploy/ray-cluster.yaml is not checked: pip install 'lad-video[ray]'")
    pytest.importorskip("jsonschema")
    from ray.autoscaler._private.util import prepare_config, validate_config

    config = yaml.safe_load((DEPLOY / "ray-cluster.yaml").read_text())
    validate_config(prepare_config(copy.deepcopy(config)))
    wrong = {**config, "max_wrokers": 1}
    with pytest.raises(Exception, match="max_wrokers"):
        validate_config(prepare_config(wrong))


def test_the_driver_of_the_cluster_has_no_actor_and_all_machines_have_the_token():
    config = yaml.safe_load((DEPLOY / "ray-cluster.yaml").read_text())
    assert config["available_node_types"][config["head_node_type"]]["resources"] == {"CPU": 0}
    head, worker = config["head_start_ray_commands"][-1], config["worker_start_ray_commands"][-1]
    assert "--num-cpus=0" in head and "--port=6379" in head and "$RAY_HEAD_IP:6379" in worker
    assert "/home/ubuntu/.ray/auth_token" in config["file_mounts"]
    assert any("RAY_AUTH_MODE=token" in command for command in config["setup_commands"])
    assert any("constraints.txt" in command and "[ray]" in command for command in config["setup_commands"])


def test_the_job_has_only_fields_that_kuberay_knows(job):
    cluster = job["spec"]["rayClusterSpec"]
    assert (job["apiVersion"], job["kind"]) == ("ray.io/v1", "RayJob")
    assert set(job["spec"]) <= JOB and set(cluster) <= CLUSTER
    assert set(cluster["headGroupSpec"]) == {"rayStartParams", "template"}
    assert all(set(group) == WORKERS for group in cluster["workerGroupSpecs"])
    assert cluster["rayVersion"] == pinned_ray()


def test_the_job_is_a_command_of_lad_whose_paths_its_machines_have(job):
    options = options_of(job["spec"]["entrypoint"])
    assert options["engine"] == "ray" and options["ray_address"] == "auto"
    head, worker = pods(job)
    mounts = [{mount["mountPath"] for mount in pod["containers"][0]["volumeMounts"]} for pod in (head, worker)]
    assert "/footage" in mounts[0] & mounts[1] and options["data"] == "/footage"
    assert any(options["work"].startswith(f"{place}/") for place in mounts[0])
    (group,) = job["spec"]["rayClusterSpec"]["workerGroupSpecs"]
    assert int(options["actors"]) <= group["maxReplicas"], "an actor takes a GPU, and a worker has one"
    for pod in (head, worker):
        assert {mount["name"] for mount in pod["containers"][0]["volumeMounts"]} == {
            one["name"] for one in pod["volumes"]
        }
    assert head["containers"][0]["image"] == worker["containers"][0]["image"], "the same lad on all of them"


def test_commands_for_ray_in_the_readme_are_commands_of_lad():
    found = re.findall(r"lad extract [^'\n]*--engine ray[^'\n]*", README)
    assert found and all(options_of(command)["engine"] == "ray" for command in found)


def test_every_file_is_in_the_readme():
    files = {path.name for path in DEPLOY.iterdir()} - {"README.md"}
    assert not [name for name in sorted(files) if f"`{name}`" not in README]
