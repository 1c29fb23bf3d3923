"""[`run`]: the rendered pod as a process: its arguments, environment and files, with paths and ports of this machine."""

import contextlib
import os
import pathlib
import signal
import socket
import subprocess
import time

from conftest import LARDER, Rendered


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


class Pod:
    """The first container of a pod, laid out in a directory that stands for its root."""

    def __init__(self, rendered: Rendered, root: pathlib.Path, secrets: dict[str, dict[str, bytes]]):
        self.rendered, self.root = rendered, root
        self.ports = {port["containerPort"]: free_port() for port in rendered.container["ports"]}
        self.secrets = secrets
        for secret in rendered.kind("Secret"):
            texts = secret.get("stringData", {})
            self.secrets[secret["metadata"]["name"]] = {key: text.encode() for key, text in texts.items()}
        volumes = {volume["name"]: volume for volume in rendered.pod["volumes"]}
        for mount in rendered.container["volumeMounts"]:
            self.mount(mount, volumes.get(mount["name"], {}))

    def mount(self, mount: dict, volume: dict):
        path = self.root / mount["mountPath"].lstrip("/")
        path.mkdir(parents=True, exist_ok=True)
        for name, content in self.files(volume).items():
            (path / name).write_bytes(content)

    def files(self, volume: dict) -> dict[str, bytes]:
        if "configMap" in volume:
            texts = self.rendered.one("ConfigMap", volume["configMap"]["name"])["data"]
            return {name: self.here(text).encode() for name, text in texts.items()}
        if "secret" in volume:
            content = self.secrets[volume["secret"]["secretName"]]
            items = volume["secret"].get("items")
            return content if items is None else {item["path"]: content[item["key"]] for item in items}
        return {}

    def here(self, text: str) -> str:
        """Paths of the pod as paths below the root, its ports as free ones, all addresses as loopback."""
        for mount in self.rendered.container["volumeMounts"]:
            path = mount["mountPath"]
            text = text.replace(f'"{path}', f'"{self.root}{path}').replace(f"={path}", f"={self.root}{path}")
        for port, free in self.ports.items():
            text = text.replace(f"0.0.0.0:{port}", f"127.0.0.1:{free}")
        return text

    def command(self) -> list[str]:
        return [str(LARDER), *(self.here(argument) for argument in self.rendered.container["args"])]

    def environment(self) -> dict[str, str]:
        # What the image says, packaging/Containerfile, and what Kubernetes sets for services is not there.
        entries = self.rendered.container.get("env", [])
        return {"XDG_CACHE_HOME": str(self.root / "data"), **{entry["name"]: entry["value"] for entry in entries}}

    def url(self, port: int, scheme: str = "http") -> str:
        return f"{scheme}://127.0.0.1:{self.ports[port]}"

    def check_config(self) -> subprocess.CompletedProcess:
        config = next(argument for argument in self.command() if argument.startswith("--config="))
        return subprocess.run([LARDER, "check-config", config.removeprefix("--config=")], capture_output=True, text=True)

    def answers(self, probe: dict) -> bool:
        """What a kubelet would find."""
        if "grpc" in probe:
            return grpc_health(self.ports[probe["grpc"]["port"]])
        named = {port["name"]: port["containerPort"] for port in self.rendered.container["ports"]}
        get = probe["httpGet"]
        url = self.url(named[get["port"]], get["scheme"].lower()) + get["path"]
        # A kubelet does not check certificates either.
        status = subprocess.run(["curl", "-ksfo", "/dev/null", "--max-time", "5", url])
        return status.returncode == 0


def grpc_health(port: int) -> bool:
    """grpc.health.v1.Health/Check of the empty service, as bytes: curl speaks HTTP/2, and the message is empty."""
    url = f"http://127.0.0.1:{port}/grpc.health.v1.Health/Check"
    headers = ["-H", "content-type: application/grpc", "-H", "te: trailers"]
    command = ["curl", "-s", "--http2-prior-knowledge", "--max-time", "5", *headers, "--data-binary", "@-", url]
    answer = subprocess.run(command, input=bytes(5), capture_output=True).stdout
    # One message of two bytes: field 1, SERVING.
    return answer == b"\0\0\0\0\2\x08\x01"


@contextlib.contextmanager
def run(pod: Pod):
    """The server, once it is ready; it must end with 0 on SIGTERM, within the grace period."""
    log = (pod.root / "log").open("wb")
    process = subprocess.Popen(pod.command(), env=pod.environment(), stderr=log)
    try:
        ready = pod.rendered.container["readinessProbe"]
        until = time.monotonic() + 30
        while not pod.answers(ready):
            said = (pod.root / "log").read_text()
            assert process.poll() is None and time.monotonic() < until, said
            time.sleep(0.1)
        yield process
        process.send_signal(signal.SIGTERM)
        assert process.wait(pod.rendered.pod["terminationGracePeriodSeconds"]) == 0
    finally:
        process.kill()
        process.wait()
        log.close()


def curl(url: str) -> str:
    return subprocess.run(["curl", "-ksf", url], check=True, capture_output=True, text=True).stdout


def helm_test(rendered: Rendered, pod: Pod, authorization: str | None = None) -> tuple[int, str]:
    """Runs the script of `helm test` against the pod; its exit code and what it printed."""
    spec = rendered.one("Pod")["spec"]
    container = spec["containers"][0]
    environment = {entry["name"]: entry.get("value", authorization) for entry in container["env"]}
    for volume in spec.get("volumes", []):
        directory = pod.root / "test" / volume["name"]
        directory.mkdir(parents=True, exist_ok=True)
        for name, content in pod.files(volume).items():
            (directory / name).write_bytes(content)
        mount = next(mount for mount in container["volumeMounts"] if mount["name"] == volume["name"])
        environment = {name: str(directory) if text == mount["mountPath"] else text for name, text in environment.items()}
    scheme, _, _ = environment["CACHE"].partition("://")
    environment |= {"CACHE": pod.url(8980, scheme), "PATH": os.environ["PATH"]}
    # The pod is ready, so that there is nothing to wait for.
    script = container["args"][0].replace("$(hostname) $$", "node 1").replace("--retry 5", "--retry 0")
    done = subprocess.run([*container["command"], script], env=environment, capture_output=True, text=True)
    return done.returncode, done.stdout
