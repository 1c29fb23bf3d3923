"""The program takes what the chart renders: settings, arguments, environment, probes, and the script of `helm test`."""

from conftest import render
from pod import Pod, curl, helm_test, run

# Small enough for any machine that runs tests.
SMALL = {"persistence": {"size": "100Mi"}, "config": {"hot": {"capacity": "16MiB"}, "min_free_disk": "0"}}
OPEN = {"unsafeAnonymous": True, **SMALL}


SECRETS = ("larder-credentials", "larder-tls", "larder-clients")


def test_the_settings_are_taken(example, tmp_path):
    secrets = {name: {"credentials": b"", "tls.crt": b"", "tls.key": b"", "ca.crt": b""} for name in SECRETS}
    rendered = render(example)
    checked = Pod(rendered, tmp_path, secrets).check_config()
    assert checked.returncode == 0, checked.stderr
    for key, value in rendered.config.items():
        if isinstance(value, int):
            assert f"{key} = {str(value).lower()}" in checked.stdout.replace('"', "")


def test_a_setting_that_is_wrong_is_told_with_its_path(tmp_path):
    rendered = render({**OPEN, "config": {"hot": {"capacity": "much"}, "eviction": "lfru"}})
    checked = Pod(rendered, tmp_path, {}).check_config()
    assert checked.returncode == 1
    assert "hot.capacity" in checked.stderr and "eviction" in checked.stderr


def test_numbers_lists_and_tables_arrive_as_they_were_written(tmp_path):
    config = {
        "workers": 4, "min_free_disk": 5000000000, "default_digest_function": {"": "SHA256", "a/b": "BLAKE3"},
        "weak_digest_functions": ["SHA1"], "log": {"level": 'warn,larder_disk=debug'},
    }
    rendered = render({**OPEN, "config": config})
    assert {key: rendered.config[key] for key in config if key != "log"} == {key: config[key] for key in config if key != "log"}
    assert rendered.config["log"] == {"format": "json", "level": "warn,larder_disk=debug"}
    assert Pod(rendered, tmp_path, {}).check_config().returncode == 0


def test_the_pod_serves_and_ends(tmp_path, helm):
    rendered = render({**OPEN, "extraArgs": ["--scrub-rate=1MiB"], "extraEnv": [{"name": "LARDER_SYNC_INTERVAL", "value": "2s"}]}, helm)
    pod = Pod(rendered, tmp_path, {})
    with run(pod):
        for probe in ("startupProbe", "livenessProbe", "readinessProbe"):
            assert pod.answers(rendered.container[probe]), probe
        assert helm_test(rendered, pod) == (0, "PUT: 200\nGET: helm test node 1200\n")
        status = curl(pod.url(8981) + "/statusz?format=json")
        for setting in ('"scrub_rate":"1MiB"', '"sync_interval":"2s"', '"max_size":"90MiB"'):
            assert setting in status
        assert (tmp_path / "data/larder/LAYOUT").exists()
        monitor = render({**OPEN, "serviceMonitor": {"enabled": True}}).one("ServiceMonitor")["spec"]["endpoints"][0]
        assert "larder_" in curl(pod.url(8981) + monitor["path"])
