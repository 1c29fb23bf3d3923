"""The values: what may stand in them, and that all combinations of them make manifests which Kubernetes takes."""

import json
import re
import subprocess

import hypothesis
import kubernetes_validate
import pytest
import yaml
from conftest import CHART, HELMS, ROOT, TOOLS, Refused, render
from hypothesis import strategies
from hypothesis_jsonschema import from_schema

SCHEMA = json.loads((CHART / "values.schema.json").read_text())
VALUES = yaml.safe_load((CHART / "values.yaml").read_text())
VERSIONS = [f"1.{minor}" for minor in range(29, 38)]
OF_THE_OPERATOR = ("ServiceMonitor", "PrometheusRule")


def is_valid(objects, versions):
    for item in objects:
        if item["kind"] not in OF_THE_OPERATOR:
            for version in versions:
                kubernetes_validate.validate(item, version, strict=True)


def test_kubernetes_takes_every_manifest_in_every_version(example):
    is_valid(render(example), VERSIONS)


def test_an_older_kubernetes_is_refused(helm):
    with pytest.raises(Refused, match="kubeVersion"):
        render({"unsafeAnonymous": True}, helm, flags=("--kube-version", "1.28"))


def test_the_operator_takes_its_own(example):
    objects = [item for item in render(example) if item["kind"] in OF_THE_OPERATOR]
    checker = CHART.parent / "tests/operator.mjs"
    done = subprocess.run(["node", checker, TOOLS / "node_modules"], input=json.dumps(objects), capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == f"{len(objects)} valid"


def test_lint_finds_nothing(helm, example):
    subprocess.run([HELMS[helm], "lint", "--strict", "--quiet", CHART, "--values", example], check=True)


def test_the_schema_knows_each_value_and_no_other():
    def keys(values, schema, path):
        named = schema.get("properties", {})
        if path == ".config" or schema.get("additionalProperties") is not False and path not in ("", ".global"):
            return
        assert set(values) == set(named), path
        for name, value in values.items():
            if isinstance(value, dict) and not is_probe(name):
                keys(value, named[name], f"{path}.{name}")

    keys(VALUES, SCHEMA, "")


def test_the_schema_knows_each_setting_and_no_other():
    """larder.example.toml is written from the program's table of settings, and has them all, some behind a `#`."""
    section, settings = None, set()
    for line in (ROOT / "server/larder.example.toml").read_text().splitlines():
        if heading := re.fullmatch(r"\[(\w+)\]", line):
            section = heading[1]
        elif key := re.match(r"(?:# )?(\w+) = ", line):
            settings.add((section, key[1]))
    named = set()
    for name, schema in SCHEMA["properties"]["config"]["properties"].items():
        if schema.get("not") == {}:
            # The chart sets it, or all of the section.
            named |= {(part, key) for part, key in settings if name == part or (part, name) == (None, key)}
        elif "properties" in schema:
            assert schema["additionalProperties"] is False, name
            named |= {(name, key) for key in schema["properties"]}
        else:
            named.add((None, name))
    assert named == settings and len(settings) > 40


def is_probe(name):
    return name.endswith("Probe")


def closed(schema):
    """Whether a schema says enough to make values from: objects of Kubernetes' own are free."""
    free = '{"type": "object"}'
    return free not in json.dumps(schema)


# Values that the schema alone bounds, in every combination. `global` is open to the parents of the chart, config to settings.
MATRIX = {
    name: from_schema(schema)
    for name, schema in SCHEMA["properties"].items()
    if closed(schema) and name not in ("global", "config", "test", "extraArgs", "extraObjects")
}


def printable(value):
    """YAML knows no control characters, and what is no ASCII has no place in names. To Python's `$` a text may end in a newline as well."""
    if isinstance(value, dict):
        return {printable(name): printable(item) for name, item in value.items()}
    if isinstance(value, list):
        return [printable(item) for item in value]
    return re.sub(r"[^\x20-\x7e]", "x", value.removesuffix("\n")) if isinstance(value, str) else value


# A failing example is told as it was found: to make it smaller takes minutes.
PHASES = [hypothesis.Phase.generate]


@hypothesis.settings(max_examples=40, phases=PHASES, database=None, deadline=None, derandomize=True, suppress_health_check=list(hypothesis.HealthCheck))
@hypothesis.given(strategies.fixed_dictionaries({}, optional=MATRIX), strategies.sampled_from(list(HELMS)))
def test_any_values_are_refused_with_reason_or_make_valid_manifests(values, helm):
    try:
        rendered = render(printable(values), helm)
    except Refused as refused:
        # The chart's own words; a template that breaks, or a schema that lets in too much, says something else.
        assert re.search(r"execution error at \(larder/templates/configmap.yaml:\d+:\d+\): \n  - ", str(refused)), refused
        return
    assert len(rendered) >= 5 and rendered.config["admin_listen"]
    is_valid(rendered, [VERSIONS[0], VERSIONS[-1]])


@pytest.mark.parametrize("values, at", [
    ({"unknown": 1}, "unknown"),
    ({"persistence": {"siz": "1Gi"}}, "siz"),
    ({"replicaCount": "two"}, "replicaCount"),
    ({"persistence": {"size": "50GB"}}, "size"),
    ({"persistence": {"accessModes": ["ReadWriteMany"]}}, "accessModes"),
    ({"tls": {"clientAuth": "maybe"}}, "clientAuth"),
    ({"config": {"listen": "0.0.0.0:1"}}, "config/listen|config.listen"),
    ({"config": {"unsafe_anonymous": True}}, "unsafe_anonymous"),
    ({"config": {"evictoin": "lru"}}, "evictoin"),
    ({"config": {"hot": {"capasity": "1GiB"}}}, "capasity"),
    ({"config": {"hot.capacity": "1GiB"}}, "hot.capacity"),
    ({"image": {"digest": "latest"}}, "digest"),
])
def test_values_that_are_wrong_are_named(values, at, helm):
    with pytest.raises(Refused, match=at):
        render({"unsafeAnonymous": True, **values}, helm)


def test_the_readme_says_what_the_values_say(tmp_path):
    readme = tmp_path / "README.md"
    readme.write_text((CHART / "README.md").read_text())
    generator = TOOLS / "node_modules/.bin/readme-generator"
    command = [generator, "--values", CHART / "values.yaml", "--readme", readme]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    fresh = readme.read_text() == (CHART / "README.md").read_text()
    assert fresh, f"run: {' '.join(map(str, command[:-1]))} helm/larder/README.md"
