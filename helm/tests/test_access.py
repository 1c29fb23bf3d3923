"""Nobody gets a cache that is open by accident, and what was chosen reaches the server."""

import pytest
from conftest import Refused, render

SECRET = {"auth": {"existingSecret": "s"}}
CERTIFICATES = {
    "tls": {"existingSecret": "t", "clientAuth": "required"},
    "auth": {"certificates": "read"},
}


def test_without_a_choice_nothing_is_rendered_and_the_choices_are_told(helm):
    with pytest.raises(Refused) as refused:
        render({}, helm)
    for choice in ("auth.existingSecret", "tls.clientAuth=required", "unsafeAnonymous=true"):
        assert choice in str(refused.value)


@pytest.mark.parametrize("values", [
    {"tls": {"existingSecret": "t"}},
    {"tls": {"existingSecret": "t", "clientAuth": "optional"}, "auth": {"certificates": "write"}},
    {"tls": {"existingSecret": "t", "clientAuth": "required"}},
    {"auth": {"anonymous": "read"}},
    {"unsafeAnonymous": True, **SECRET},
    {"auth": {"existingSecret": "s", "credentials": ["a line"]}},
    {"unsafeAnonymous": True, "tls": {"clientAuth": "required"}},
    {"unsafeAnonymous": True, "tls": {"admin": True}},
])
def test_choices_that_are_none_or_contradict_are_refused(values, helm):
    with pytest.raises(Refused, match="execution error"):
        render(values, helm)


def test_anonymous_is_said_to_the_server_only_where_it_was_chosen(anonymous):
    assert anonymous.config["unsafe_anonymous"] is True
    assert "unsafe_anonymous" not in render(SECRET).config


def test_the_network_keeps_others_out_by_default(anonymous):
    policy = anonymous.one("NetworkPolicy")["spec"]
    assert policy["policyTypes"] == ["Ingress", "Egress"]
    assert "egress" not in policy, "nothing is let out"
    assert policy["ingress"] == [
        {"from": [{"podSelector": {}}], "ports": [{"port": "cache", "protocol": "TCP"}]}
    ]
    labels = anonymous.one("StatefulSet")["spec"]["template"]["metadata"]["labels"]
    assert policy["podSelector"]["matchLabels"].items() <= labels.items()
    assert not render({"unsafeAnonymous": True, "networkPolicy": {"enabled": False}}).kind("NetworkPolicy")


def test_scrapers_reach_the_admin_port_alone():
    policy = render({**SECRET, "networkPolicy": {"scrapers": [{"podSelector": {"matchLabels": {"a": "b"}}}]}})
    rule = policy.one("NetworkPolicy")["spec"]["ingress"][1]
    assert rule["ports"] == [{"port": "admin", "protocol": "TCP"}]
    assert rule["from"] == [{"podSelector": {"matchLabels": {"a": "b"}}}]


def test_fetching_from_origins_opens_the_way_out():
    rendered = render({**SECRET, "config": {"fetch": {"enabled": True, "allow": ["github.com"]}}})
    ports = [port["port"] for port in rendered.one("NetworkPolicy")["spec"]["egress"][0]["ports"]]
    assert ports == [53, 53, 80, 443]


@pytest.mark.parametrize("endpoint, port", [
    ("http://agent:4317", 4317),
    ("http://[fd00::1]:4318/v1/traces", 4318),
    ("https://collector.example.com", 443),
    ("http://collector/v1/traces", 80),
])
def test_spans_have_a_way_out_to_the_collector(endpoint, port):
    rendered = render({**SECRET, "config": {"traces": {"endpoint": endpoint}}})
    [rule] = rendered.one("NetworkPolicy")["spec"]["egress"]
    assert [item["port"] for item in rule["ports"]] == [53, 53, port]
    assert rendered.config["traces"]["endpoint"] == endpoint


@pytest.mark.parametrize("auth, secret, key", [
    ({"existingSecret": "s"}, "s", "credentials"),
    ({"existingSecret": "s", "existingSecretKey": "file"}, "s", "file"),
    ({"credentials": ["one", "two"]}, "r-larder-credentials", "credentials"),
])
def test_credentials_are_mounted_as_a_directory(auth, secret, key):
    rendered = render({"auth": auth})
    volume = next(volume for volume in rendered.pod["volumes"] if volume["name"] == "credentials")
    mount = next(mount for mount in rendered.container["volumeMounts"] if mount["name"] == "credentials")
    assert volume["secret"]["secretName"] == secret
    assert "subPath" not in mount, "a secret that changes would not change in the pod"
    assert rendered.config["auth"]["credentials_file"] == f"{mount['mountPath']}/{key}"
    made = [item["metadata"]["name"] for item in rendered.kind("Secret")]
    assert made == ([secret] if "credentials" in auth else [])


def test_lines_of_credentials_become_a_file():
    secret = render({"auth": {"credentials": ["one", "two"]}}).one("Secret")
    assert secret["stringData"] == {"credentials": "one\ntwo\n"}


def test_certificates_of_clients_are_checked_against_their_secret():
    rendered = render(CERTIFICATES)
    assert rendered.config["tls"] == {
        "cert_file": "/etc/larder/tls/tls.crt",
        "key_file": "/etc/larder/tls/tls.key",
        "client_ca_file": "/etc/larder/client-ca/ca.crt",
        "client_auth": "required",
    }
    assert rendered.config["auth"] == {"certificates": "read"}
    secrets = {volume["name"]: volume["secret"]["secretName"] for volume in rendered.pod["volumes"] if "secret" in volume}
    assert secrets == {"tls": "t", "client-ca": "t"}


def test_kubelets_probe_in_plain_text_where_they_speak_no_tls():
    tls = {"tls": {"existingSecret": "t"}, **SECRET}
    assert render(SECRET).container["readinessProbe"]["grpc"] == {"port": 8980}
    ready = render(tls).container["readinessProbe"]
    assert ready["httpGet"] == {"path": "/readyz", "port": "admin", "scheme": "HTTP"}
    encrypted = render({**SECRET, "tls": {"existingSecret": "t", "admin": True}}).container
    assert encrypted["livenessProbe"]["httpGet"]["scheme"] == "HTTPS"
    assert encrypted["readinessProbe"]["httpGet"]["scheme"] == "HTTPS"


def test_the_pod_of_helm_test_gets_through_whoever_else_may():
    rendered = render({**SECRET, "networkPolicy": {"clients": [{"ipBlock": {"cidr": "10.0.0.0/8"}}]}})
    peers = rendered.one("NetworkPolicy")["spec"]["ingress"][0]["from"]
    selector = next(peer["podSelector"] for peer in peers if "podSelector" in peer)["matchLabels"]
    assert selector.items() <= rendered.one("Pod")["metadata"]["labels"].items()
    assert not selector.items() <= rendered.one("StatefulSet")["spec"]["template"]["metadata"]["labels"].items()


def test_prometheus_is_told_the_name_that_the_certificate_has():
    tls = {"tls": {"existingSecret": "t", "admin": True}, **SECRET}
    monitor = {"enabled": True, "tlsConfig": {"ca": {"secret": {"name": "t", "key": "ca.crt"}}}}

    def endpoint(values):
        return render(values).one("ServiceMonitor")["spec"]["endpoints"][0]

    assert endpoint({**tls, "serviceMonitor": monitor})["tlsConfig"] == {**monitor["tlsConfig"], "serverName": "r-larder.builds.svc.cluster.local"}
    named = endpoint({**tls, "serviceMonitor": {"enabled": True, "tlsConfig": {"serverName": "cache.example.com"}}})
    assert named["tlsConfig"] == {"serverName": "cache.example.com"}
    assert "tlsConfig" not in endpoint({**SECRET, "serviceMonitor": {"enabled": True}})
