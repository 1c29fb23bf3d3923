"""What the tests of the chart share: charts rendered by each helm, objects found by kind, and the program.

`.ci/deploy` says where things are: TOOLS has bin/helm3, bin/helm4 and node_modules, LARDER is the program.
"""

import json
import os
import pathlib
import subprocess
import tomllib

import pytest
import yaml

ROOT = pathlib.Path(__file__).resolve().parents[2]
CHART = ROOT / "helm/larder"
TOOLS = pathlib.Path(os.environ["TOOLS"])
LARDER = pathlib.Path(os.environ["LARDER"]).resolve()
HELMS = {name: TOOLS / "bin" / name for name in ("helm3", "helm4")}
EXAMPLES = sorted((CHART / "ci").glob("*.yaml"))


class Refused(Exception):
    """What helm says instead of manifests."""


class Rendered(list):
    """The objects of a release, in the order of the manifest."""

    def kind(self, kind: str) -> list[dict]:
        return [item for item in self if item["kind"] == kind]

    def one(self, kind: str, name: str | None = None) -> dict:
        found = [item for item in self.kind(kind) if name in (None, item["metadata"]["name"])]
        assert len(found) == 1, f"{len(found)} objects of kind {kind}, name {name}"
        return found[0]

    @property
    def pod(self) -> dict:
        return self.one("StatefulSet")["spec"]["template"]["spec"]

    @property
    def container(self) -> dict:
        return self.pod["containers"][0]

    @property
    def toml(self) -> str:
        return self.one("ConfigMap", self.one("StatefulSet")["metadata"]["name"])["data"]["larder.toml"]

    @property
    def config(self) -> dict:
        return tomllib.loads(self.toml)


def render(values: dict | pathlib.Path, helm: str = "helm4", release: str = "r", flags: tuple = ()) -> Rendered:
    """Renders the chart with these values in the namespace `builds`."""
    command = [HELMS[helm], "template", release, CHART, "--namespace", "builds", *flags, "--values"]
    if isinstance(values, pathlib.Path):
        done = subprocess.run([*command, values], capture_output=True, text=True)
    else:
        done = subprocess.run([*command, "-"], input=json.dumps(values), capture_output=True, text=True)
    if done.returncode != 0:
        raise Refused(done.stderr)
    return Rendered(item for item in yaml.safe_load_all(done.stdout) if item)


@pytest.fixture(params=list(HELMS))
def helm(request) -> str:
    return request.param


@pytest.fixture(params=EXAMPLES, ids=lambda path: path.name.removesuffix("-values.yaml"))
def example(request) -> pathlib.Path:
    return request.param


@pytest.fixture(scope="session")
def anonymous() -> Rendered:
    """The chart with its defaults, and the one choice that it asks for."""
    return render({"unsafeAnonymous": True})
