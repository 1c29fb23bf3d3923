"""The objects that the chart makes: what each promises, with the defaults and with values."""

import json
import subprocess

import pytest
from conftest import CHART, HELMS, Refused, render
import yaml

OPEN = {"unsafeAnonymous": True}


def test_both_helms_render_the_same(example):
    assert render(example, "helm3") == render(example, "helm4")


def test_what_is_made_by_default(anonymous):
    made = sorted((item["kind"], item["metadata"]["name"]) for item in anonymous)
    assert made == [
        ("ConfigMap", "r-larder"),
        ("NetworkPolicy", "r-larder"),
        ("Pod", "r-larder-test"),
        ("PodDisruptionBudget", "r-larder"),
        ("Service", "r-larder"),
        ("Service", "r-larder-headless"),
        ("ServiceAccount", "r-larder"),
        ("StatefulSet", "r-larder"),
    ]
    assert all(item["metadata"]["namespace"] == "builds" for item in anonymous)


def test_the_pod_is_restricted(anonymous):
    pod, container = anonymous.pod, anonymous.container
    assert pod["automountServiceAccountToken"] is False
    assert pod["enableServiceLinks"] is False
    assert pod["securityContext"]["runAsNonRoot"] is True
    assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    assert pod["securityContext"]["fsGroupChangePolicy"] == "OnRootMismatch"
    security = container["securityContext"]
    assert security["readOnlyRootFilesystem"] is True
    assert security["allowPrivilegeEscalation"] is False
    assert security["capabilities"] == {"drop": ["ALL"]}
    assert (security["runAsUser"], pod["securityContext"]["fsGroup"]) == (65532, 65532)


def test_services_and_selectors_find_the_pods(anonymous):
    stateful = anonymous.one("StatefulSet")["spec"]
    labels = stateful["template"]["metadata"]["labels"]
    test_labels = anonymous.one("Pod")["metadata"]["labels"]
    selectors = [service["spec"]["selector"] for service in anonymous.kind("Service")]
    selectors.append(stateful["selector"]["matchLabels"])
    selectors.append(anonymous.one("PodDisruptionBudget")["spec"]["selector"]["matchLabels"])
    for selector in selectors:
        assert selector.items() <= labels.items()
        assert not selector.items() <= test_labels.items(), "the test's pod must not get requests"
    ports = {port["name"]: port["containerPort"] for port in anonymous.container["ports"]}
    targets = {port["targetPort"] for service in anonymous.kind("Service") for port in service["spec"]["ports"]}
    assert targets == set(ports) == {"cache", "admin"}
    client = anonymous.one("Service", "r-larder")["spec"]
    assert [port["targetPort"] for port in client["ports"]] == ["cache"], "the admin port is not for clients"


def test_each_pod_has_a_name_even_before_it_is_ready(anonymous):
    headless = anonymous.one("Service", "r-larder-headless")["spec"]
    assert headless["clusterIP"] == "None" and headless["publishNotReadyAddresses"] is True
    assert anonymous.one("StatefulSet")["spec"]["serviceName"] == "r-larder-headless"


def test_labels_of_users_are_everywhere_and_change_no_selector(anonymous):
    values = {**OPEN, "commonLabels": {"team": "x", "app.kubernetes.io/name": "other"}, "podLabels": {"app.kubernetes.io/instance": "y"}}
    rendered = render(values)
    for item in rendered:
        assert item["metadata"]["labels"]["team"] == "x", item["kind"]
    before, after = anonymous.one("StatefulSet")["spec"], rendered.one("StatefulSet")["spec"]
    assert before["selector"] == after["selector"]
    assert after["selector"]["matchLabels"].items() <= after["template"]["metadata"]["labels"].items()
    assert before["volumeClaimTemplates"] == after["volumeClaimTemplates"], "Kubernetes refuses other claims on upgrade"


@pytest.mark.parametrize("size, expected", [
    ("50Gi", "46080MiB"), ("1Ti", "943718MiB"), ("500Mi", "450MiB"),
])
def test_the_limit_follows_from_the_volume(size, expected):
    assert render({**OPEN, "persistence": {"size": size}}).config["max_size"] == expected
    said = render({**OPEN, "persistence": {"size": size}, "config": {"max_size": "1MiB"}})
    assert said.config["max_size"] == "1MiB"
    in_the_pod = render({**OPEN, "persistence": {"size": size, "enabled": False}})
    assert in_the_pod.config["max_size"] == expected
    claimed = render({**OPEN, "persistence": {"existingClaim": "mine"}})
    assert "max_size" not in claimed.config, "how large it is, only the server can know"


@pytest.mark.parametrize("size, fits", [
    ("50GiB", True), ("50.0000001 gib", False), ("51GiB", False), ("1TB", False), ("53GB", True), ("54GB", False), ("500000MiB", False),
    (53687091200, True), (53687091201, False), ("53687091201", False), ("0.04tib", True), ("1024kB", True),
])
@pytest.mark.parametrize("enabled", [True, False])
def test_a_limit_over_the_volume_is_refused(size, fits, enabled):
    values = {**OPEN, "config": {"max_size": size}, "persistence": {"enabled": enabled}}
    if fits:
        assert render(values).config["max_size"] == size
    else:
        with pytest.raises(Refused, match="config.max_size is .*: the volume has 50Gi"):
            render(values)
    claimed = render({**values, "persistence": {"enabled": True, "existingClaim": "mine"}})
    assert claimed.config["max_size"] == size, "how large it is, only the server can know"


def test_a_volume_may_grow():
    grown = render({**OPEN, "persistence": {"grownTo": "100Gi"}})
    assert grown.config["max_size"] == "92160MiB"
    claim = grown.one("StatefulSet")["spec"]["volumeClaimTemplates"][0]["spec"]
    assert claim["resources"]["requests"]["storage"] == "50Gi", "Kubernetes refuses another"
    said = render({**OPEN, "persistence": {"grownTo": "100Gi"}, "config": {"max_size": "99GiB"}})
    assert said.config["max_size"] == "99GiB"


@pytest.mark.parametrize("setting, value", [
    ("max_size", "50Gi"), ("max_size", "much"), ("max_size", 1.5), ("drain_timeout", 90), ("drain_timeout", "90"), ("drain_timeout", "1d"), ("drain_timeout", "soon"),
])
def test_what_the_chart_cannot_read_is_refused(setting, value):
    with pytest.raises(Refused, match=setting):
        render({**OPEN, "config": {setting: value}})


def test_where_the_data_is():
    stateful = render(OPEN).one("StatefulSet")["spec"]
    assert stateful["persistentVolumeClaimRetentionPolicy"] == {"whenDeleted": "Retain", "whenScaled": "Retain"}
    claim = stateful["volumeClaimTemplates"][0]["spec"]
    assert claim == {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "50Gi"}}}
    data = lambda values: [v for v in render({**OPEN, "persistence": values}).pod["volumes"] if v["name"] == "data"]
    assert data({"enabled": False}) == [{"name": "data", "emptyDir": {"sizeLimit": "50Gi"}}]
    assert data({"existingClaim": "mine"}) == [{"name": "data", "persistentVolumeClaim": {"claimName": "mine"}}]
    with pytest.raises(Refused, match="replicaCount=1"):
        render({**OPEN, "replicaCount": 2, "persistence": {"existingClaim": "mine"}})


@pytest.mark.parametrize("drain, grace, fits", [
    ("30s", 31, True), ("30s", 30, False), ("2m", 120, False), ("2m", 121, True), ("1500ms", 2, True), ("1500ms", 1, False),
    ("1m30s", 90, False), ("1min 30s", 91, True), ("1h", 3600, False), ("1h", 3601, True),
])
def test_the_pod_has_longer_to_end_than_the_server_takes(drain, grace, fits):
    values = {**OPEN, "config": {"drain_timeout": drain}, "terminationGracePeriodSeconds": grace}
    if fits:
        assert render(values).pod["terminationGracePeriodSeconds"] == grace
    else:
        with pytest.raises(Refused, match="terminationGracePeriodSeconds"):
            render(values)


@pytest.mark.parametrize("drain, grace", [(None, 45), ("0s", 15), ("1500ms", 17), ("1m30s", 105), ("1h", 3615)])
def test_the_pod_has_15_s_more_than_the_drain(drain, grace):
    assert render({**OPEN, "config": {"drain_timeout": drain}}).pod["terminationGracePeriodSeconds"] == grace


def test_a_change_of_the_settings_restarts_the_pods(anonymous):
    annotations = lambda rendered: rendered.one("StatefulSet")["spec"]["template"]["metadata"]["annotations"]
    before = annotations(anonymous)["checksum/config"]
    assert annotations(render(OPEN))["checksum/config"] == before
    assert annotations(render({**OPEN, "config": {"eviction": "lru"}}))["checksum/config"] != before


def test_images_by_registry_tag_and_digest():
    image = lambda values: render({**OPEN, **values}).container["image"]
    version = yaml.safe_load((CHART / "Chart.yaml").read_text())["appVersion"]
    digest = "sha256:" + "0" * 64
    assert image({}) == f"ghcr.io/larder/larder:{version}"
    assert image({"global": {"imageRegistry": "here:5000"}}) == f"here:5000/larder/larder:{version}"
    assert image({"image": {"tag": "1"}}) == "ghcr.io/larder/larder:1"
    assert image({"image": {"tag": "1", "digest": digest}}) == f"ghcr.io/larder/larder@{digest}"
    pod = render({**OPEN, "global": {"imageRegistry": "here:5000"}}).one("Pod")
    assert pod["spec"]["containers"][0]["image"].startswith("here:5000/curlimages/curl:")


def test_nothing_scales_by_itself(anonymous):
    everything = render(CHART / "ci/everything-values.yaml")
    assert not anonymous.kind("HorizontalPodAutoscaler") + everything.kind("HorizontalPodAutoscaler")
    assert everything.one("Service", "r-larder")["spec"]["sessionAffinity"] == "ClientIP"
    assert "sessionAffinity" not in anonymous.one("Service", "r-larder")["spec"]


def test_names_fit_whatever_the_release_is_called():
    rendered = render(OPEN, release="a" * 53)
    names = {item["metadata"]["name"] for item in rendered}
    assert max(map(len, names)) <= 52, names
    assert render({**OPEN, "fullnameOverride": "cache"}).one("StatefulSet")["metadata"]["name"] == "cache"
    assert render(OPEN, release="my-larder").one("StatefulSet")["metadata"]["name"] == "my-larder"


@pytest.mark.parametrize("name", ["larder.rules.yaml", "dashboard.json"])
def test_rules_and_dashboard_are_those_of_the_documentation(name):
    original = CHART.parents[1] / "docs/operate" / name
    assert (CHART / "files" / name).read_bytes() == original.read_bytes(), f"run: cp {original} {CHART}/files"


def test_rules_and_dashboard_arrive_as_they_are():
    rendered = render({**OPEN, "prometheusRule": {"enabled": True}, "dashboard": {"enabled": True}})
    rules = yaml.safe_load((CHART / "files/larder.rules.yaml").read_text())
    assert rendered.one("PrometheusRule")["spec"] == rules
    dashboard = rendered.one("ConfigMap", "r-larder-dashboard")
    assert dashboard["metadata"]["labels"]["grafana_dashboard"] == "1"
    assert dashboard["data"]["larder.json"] == (CHART / "files/dashboard.json").read_text()


def test_notes_ask_the_admin_port_for_what_needs_no_credentials():
    for values, line in [
        (OPEN, "  curl 'http://127.0.0.1:8981/readyz?verbose'\n"),
        ({"auth": {"existingSecret": "c"}, "tls": {"existingSecret": "t", "admin": True}}, "  curl --insecure 'https://127.0.0.1:8981/readyz?verbose'\n"),
    ]:
        # helm 3 asks a cluster for its version before it shows notes.
        install = [HELMS["helm4"], "install", "r", CHART, "--dry-run=client", "--values", "-"]
        done = subprocess.run(install, input=json.dumps(values), capture_output=True, text=True, check=True)
        assert line in done.stdout
