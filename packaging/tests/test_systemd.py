"""The unit: systemd takes it, the server can live within it, and what one says of times and paths the other keeps."""

import os
import pathlib
import re
import signal
import socket
import subprocess
import tomllib

import pytest

HERE = pathlib.Path(__file__).resolve().parents[1] / "systemd"
UNIT = (HERE / "larder.service").read_text()
LARDER = pathlib.Path(os.environ["LARDER"]).resolve()


def setting(name: str) -> str:
    return re.search(rf"^{name}=(.*)$", UNIT, re.MULTILINE)[1]


@pytest.fixture
def unit(tmp_path) -> pathlib.Path:
    """The unit with the program that is tested: systemd wants it to be there."""
    path = tmp_path / "larder.service"
    text = UNIT.replace("/usr/bin/larder", str(LARDER))
    path.write_text(re.sub("^Documentation=.*$", "", text, flags=re.MULTILINE))
    return path


def test_systemd_takes_it(unit):
    done = subprocess.run(["systemd-analyze", "verify", "--man=no", unit], capture_output=True, text=True)
    assert (done.returncode, done.stdout + done.stderr) == (0, "")


def test_it_exposes_little(unit):
    command = ["systemd-analyze", "security", "--offline=true", "--threshold=15", unit]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout


def test_its_settings_are_taken_and_fit_the_unit(tmp_path):
    path = HERE / "larder.toml"
    settings = tomllib.loads(path.read_text())
    assert settings["data_dir"] == "/var/cache/" + setting("CacheDirectory")
    drain = int(settings["drain_timeout"].removesuffix("s"))
    assert drain < int(setting("TimeoutStopSec").removesuffix("s"))
    # /var/cache/larder may not be there: how much fits is then asked of another place.
    here = tmp_path / "larder.toml"
    here.write_text(path.read_text().replace("/var/cache/larder", str(tmp_path / "data")))
    done = subprocess.run([LARDER, "check-config", here], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def serve(tmp_path, *before, **environment):
    addresses = ["--listen", "127.0.0.1:0", "--admin-listen", "127.0.0.1:0", "--log-format", "json"]
    command = [*before, LARDER, "serve", "--data-dir", tmp_path / "data", "--max-size", "64MiB", *addresses]
    return subprocess.Popen(command, env={**os.environ, **environment}, stderr=subprocess.PIPE, text=True)


def test_it_tells_systemd_when_it_serves_and_when_it_stops(tmp_path):
    assert setting("Type") == "notify"
    path = str(tmp_path / "notify")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as receiver:
        receiver.bind(path)
        receiver.settimeout(30)
        server = serve(tmp_path, NOTIFY_SOCKET=path)
        assert receiver.recv(100) == b"READY=1"
        server.send_signal(signal.SIGTERM)
        assert receiver.recv(100) == b"STOPPING=1"
        assert server.wait(30) == 0, server.stderr.read()


def test_no_system_call_of_a_server_at_work_is_forbidden(tmp_path):
    trace = tmp_path / "trace"
    server = serve(tmp_path, "strace", "-f", "-qq", "-o", trace)
    port = re.search(r'"address":"127.0.0.1:(\d+)"', next(line for line in server.stderr if '"address"' in line))[1]
    blob = tmp_path / "blob"
    for size in (10, 100_000, 3_000_000):
        blob.write_bytes(os.urandom(size))
        digest = subprocess.run(["sha256sum", blob], capture_output=True, text=True).stdout.split()[0]
        url = f"http://127.0.0.1:{port}/cas/{digest}"
        subprocess.run(["curl", "-sfT", blob, url], check=True)
        assert subprocess.run(["curl", "-sf", url], check=True, capture_output=True).stdout == blob.read_bytes()
    (child,) = pathlib.Path(f"/proc/{server.pid}/task/{server.pid}/children").read_text().split()
    os.kill(int(child), signal.SIGTERM)
    assert server.wait(60) == 0, server.stderr.read()
    server.stderr.close()

    used = set(re.findall(r"^\d+ +([a-z0-9_]+)\(", trace.read_text(), re.MULTILINE))
    assert "pwrite64" in used or "pwritev" in used, "a trace without a write is none"
    assert used - allowed_calls() == set()


def allowed_calls() -> set[str]:
    allowed = set()
    for groups in re.findall(r"^SystemCallFilter=(.*)$", UNIT, re.MULTILINE):
        members = set().union(*map(members_of, groups.removeprefix("~").split()))
        allowed = allowed - members if groups.startswith("~") else allowed | members
    return allowed


def members_of(group: str) -> set[str]:
    listed = subprocess.run(["systemd-analyze", "syscall-filter", group], check=True, capture_output=True, text=True)
    names = [line.strip() for line in listed.stdout.splitlines()[1:]]
    names = [name for name in names if name and not name.startswith("#")]
    return set().union(*(members_of(name) if name.startswith("@") else {name} for name in names))
