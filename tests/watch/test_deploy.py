"""The files of `deploy/`: what their programs say of them, and that they fit each other."""

from __future__ import annotations

import shutil
import subprocess

import pytest
import yaml
from helpers.places import REPOSITORY

from lad.watch.environment import NAME
from lad.watch.sinks import SINKS

DEPLOY = REPOSITORY / "deploy"


def test_systemd_finds_nothing_wrong_with_the_service(tmp_path):
    if not shutil.which("systemd-analyze"):
        pytest.skip("NO SYSTEMD here: install it to run this")
    unit = (DEPLOY / "lad-watch.service").read_text()
    assert "TimeoutStopSec=10\n" in unit and "Restart=on-failure\n" in unit and "NoNewPrivileges=yes\n" in unit
    file = tmp_path / "lad-watch.service"
    file.write_text(unit.replace("/opt/lad/bin/lad", "/bin/true"))
    done = subprocess.run(["systemd-analyze", "verify", str(file)], capture_output=True, text=True)
    assert (done.returncode, done.stdout + done.stderr) == (0, "")


def test_the_example_of_cameras_reaches_the_broker_of_the_containers(monkeypatch):
    text = (DEPLOY / "cameras.yaml").read_text()
    for name in NAME.findall(text):
        monkeypatch.setenv(name, "hidden")
    said = yaml.safe_load(text)["sinks"]
    options = {kind: SINKS[kind].options.model_validate(keys) for kind, keys in said.items()}
    assert options["mqtt"].host in yaml.safe_load((DEPLOY / "compose.yaml").read_text())["services"]
    assert f" {options['mqtt'].user.get_secret_value()} " in (DEPLOY / "README.md").read_text()


def test_the_containers_find_each_other_and_their_files():
    compose = yaml.safe_load((DEPLOY / "compose.yaml").read_text())
    services = compose["services"]
    targets = yaml.safe_load((DEPLOY / "prometheus.yml").read_text())["scrape_configs"][0]["static_configs"][0][
        "targets"
    ]
    host, _, port = targets[0].partition(":")
    assert host in services and services[host]["command"][-2:] == ["--metrics", f"0.0.0.0:{port}"]
    made_by_the_user = {"mosquitto.passwords"}
    for service in services.values():
        for volume in service["volumes"]:
            source = volume.partition(":")[0]
            if source.startswith("./"):
                assert (DEPLOY / source).is_file() or source[2:] in made_by_the_user
            else:
                assert source in compose["volumes"]
    readme = (DEPLOY / "README.md").read_text()
    assert all(name in readme for name in made_by_the_user | {services["watch"]["env_file"]})
