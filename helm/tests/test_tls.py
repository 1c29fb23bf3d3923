"""The program with certificates and credentials, as the chart renders it: who gets in, who does not, and what probes and Prometheus find."""

import pathlib
import subprocess

import pytest
from conftest import LARDER, render
from pod import Pod, helm_test, run

SMALL = {"persistence": {"size": "100Mi"}, "config": {"hot": {"capacity": "16MiB"}, "min_free_disk": "0"}}
TOKENS = {"write": "a-token-of-a-writer-0123456789", "read": "a-token-of-a-reader-0123456789"}
SERVICE = "r-larder.builds.svc.cluster.local"


def openssl(*arguments):
    subprocess.run(["openssl", *map(str, arguments)], check=True, capture_output=True)


def signed(directory: pathlib.Path, name: str, authority: str, extension: str):
    """NAME.key and NAME.crt, by AUTHORITY.key and AUTHORITY.crt."""
    key, request, certificate = (directory / f"{name}.{end}" for end in ("key", "csr", "crt"))
    extensions = directory / f"{name}.ext"
    extensions.write_text(extension)
    openssl("req", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-subj", f"/CN={name}", "-keyout", key, "-out", request)
    by = ["-CA", directory / f"{authority}.crt", "-CAkey", directory / f"{authority}.key"]
    openssl("x509", "-req", "-in", request, *by, "-days", "1", "-extfile", extensions, "-out", certificate)


@pytest.fixture(scope="module")
def secrets(tmp_path_factory) -> dict[str, dict[str, bytes]]:
    """What the secrets of the cluster would hold."""
    made = tmp_path_factory.mktemp("certificates")
    for authority in ("servers", "clients"):
        key, certificate = made / f"{authority}.key", made / f"{authority}.crt"
        openssl("req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "1", "-subj", f"/CN={authority}", "-keyout", key, "-out", certificate)
    signed(made, "server", "servers", f"subjectAltName=DNS:{SERVICE}")
    signed(made, "client", "clients", "extendedKeyUsage=clientAuth")
    signed(made, "stranger", "servers", "extendedKeyUsage=clientAuth")

    def pair(name):
        return {"tls.crt": (made / f"{name}.crt").read_bytes(), "tls.key": (made / f"{name}.key").read_bytes()}

    lines = b"".join(
        subprocess.run([LARDER, "hash-credential", f"of-{role}", "--role", role], input=token.encode(), check=True, capture_output=True).stdout
        for role, token in TOKENS.items()
    )
    return {
        "tls": {**pair("server"), "ca.crt": (made / "servers.crt").read_bytes()},
        "clients": {"ca.crt": (made / "clients.crt").read_bytes()},
        "client": pair("client"),
        "stranger": pair("stranger"),
        "credentials": {"credentials": lines},
        "token": {},
    }


def values(client_auth: str, certificate: str = "", token: str = "", **more) -> dict:
    tls = {"existingSecret": "tls", "clientAuth": client_auth, "clientCaSecret": "clients", "admin": True}
    test = {"clientCertificateSecret": certificate, "authorizationSecret": token}
    return {**SMALL, "tls": tls, "auth": {"existingSecret": "credentials"}, "test": test, **more}


@pytest.mark.parametrize("client_auth", ["none", "optional", "required"])
def test_the_settings_are_taken(client_auth, tmp_path, secrets):
    checked = Pod(render(values(client_auth)), tmp_path, dict(secrets)).check_config()
    assert checked.returncode == 0, checked.stderr


def test_with_credentials_over_tls(tmp_path, secrets):
    rendered = render(values("none", serviceMonitor={"enabled": True}))
    pod = Pod(rendered, tmp_path, dict(secrets))
    with run(pod):
        for probe in ("startupProbe", "livenessProbe", "readinessProbe"):
            assert pod.answers(rendered.container[probe]), probe
        assert helm_test(rendered, pod) == (0, "PUT without credentials: 401\n")
        allowed = render(values("none", token="token"))
        assert helm_test(allowed, pod, f"Bearer {TOKENS['write']}") == (0, "PUT: 200\nGET: helm test node 1200\n")
        assert helm_test(allowed, pod, f"Bearer {TOKENS['read']}") == (1, "PUT: 403\n")
        # Prometheus has no credentials, and checks the certificate against the name that it was told.
        endpoint = rendered.one("ServiceMonitor")["spec"]["endpoints"][0]
        assert not {"authorization", "basicAuth"} & set(endpoint)
        authority = tmp_path / "ca.crt"
        authority.write_bytes(secrets["tls"]["ca.crt"])
        name, port = endpoint["tlsConfig"]["serverName"], pod.ports[8981]
        url = f"{endpoint['scheme']}://{name}:{port}{endpoint['path']}"
        command = ["curl", "-sf", "--cacert", authority, "--connect-to", f"{name}:{port}:127.0.0.1:{port}", url]
        assert b"larder_build_info" in subprocess.run(command, check=True, capture_output=True).stdout


def test_with_certificates_of_clients_and_credentials(tmp_path, secrets):
    rendered = render(values("required"))
    pod = Pod(rendered, tmp_path, dict(secrets))
    with run(pod):
        for probe in ("startupProbe", "livenessProbe", "readinessProbe"):
            assert pod.answers(rendered.container[probe]), probe
        code, said = helm_test(rendered, pod)
        assert code == 0 and said.startswith("PUT without a certificate: 000, curl ended with "), said
        # A certificate lets in; what it may, a line of the credentials or a token says.
        both = render(values("required", "client", "token"))
        assert helm_test(both, pod, f"Bearer {TOKENS['write']}") == (0, "PUT: 200\nGET: helm test node 1200\n")
        assert helm_test(render(values("required", "client")), pod) == (1, "PUT: 401\n")
        assert helm_test(render(values("required", "stranger", "token")), pod, f"Bearer {TOKENS['write']}")[0] != 0
    # No one listens any more: that must not pass for a refusal.
    assert helm_test(rendered, pod)[0] == 1


def test_with_certificates_alone(tmp_path, secrets):
    chosen = values("required", "client", auth={"certificates": "write"})
    rendered = render(chosen)
    pod = Pod(rendered, tmp_path, dict(secrets))
    with run(pod):
        assert helm_test(rendered, pod) == (0, "PUT: 200\nGET: helm test node 1200\n")
