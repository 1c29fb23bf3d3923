"""What a release is made of: archive, completions, manual, workflow, and versions that agree."""

import json
import os
import pathlib
import re
import subprocess
import tarfile
import tomllib

import pytest
import yaml

ROOT = pathlib.Path(__file__).resolve().parents[2]
TOOLS = pathlib.Path(os.environ["TOOLS"])
LARDER = pathlib.Path(os.environ["LARDER"]).resolve()
WORKFLOW = ROOT / ".github/workflows/release.yaml"
ACTIONLINT = TOOLS / "bin/actionlint"


@pytest.fixture(scope="module")
def program(tmp_path_factory) -> pathlib.Path:
    """The program with little debug information: to compress it all takes half a minute."""
    path = tmp_path_factory.mktemp("program") / "larder"
    subprocess.run(["objcopy", "--strip-debug", LARDER, path], check=True)
    return path


@pytest.fixture(scope="module")
def archive(tmp_path_factory, program) -> pathlib.Path:
    """A release, packed and unpacked."""
    out = tmp_path_factory.mktemp("dist")
    pack(program, out)
    with tarfile.open(out / "larder-1.2.3-some-target.tar.gz") as packed:
        packed.extractall(out, filter="data")
    return out / "larder-1.2.3-some-target"


def pack(program: pathlib.Path, out: pathlib.Path):
    environment = {**os.environ, "SOURCE_DATE_EPOCH": "1700000000"}
    command = [ROOT / "packaging/archive", program, "1.2.3", "some-target", out]
    subprocess.run(command, env=environment, check=True, capture_output=True)


def test_the_archive_has_all_that_is_installed(archive):
    found = {str(path.relative_to(archive)) for path in archive.rglob("*") if path.is_file()}
    expected = {
        "larder", "README.md", "CHANGELOG.md", "LICENSE-APACHE", "LICENSE-MIT", "larder.example.toml",
        "systemd/larder.service", "systemd/larder.toml",
        "completions/larder.bash", "completions/larder.zsh", "completions/larder.fish",
        "man/larder.1", "man/larder-serve.1", "man/larder-check-config.1", "man/larder-verify.1",
    }
    assert expected <= found, expected - found
    version = subprocess.run([archive / "larder", "--version"], check=True, capture_output=True, text=True)
    assert version.stdout.startswith("larder ")


def test_the_same_input_makes_the_same_archive(program, archive, tmp_path):
    pack(program, tmp_path)
    for name in ("larder-1.2.3-some-target.tar.gz", "larder-1.2.3-some-target.debug.tar.gz"):
        assert (tmp_path / name).read_bytes() == (archive.parent / name).read_bytes(), name


@pytest.mark.parametrize("words, expected", [
    (["larder", "ser"], {"serve"}),
    (["larder", "check-config", "--h"], {"--help"}),
    (["larder", "serve", "--hot-"], {"--hot-capacity", "--hot-max-blob-size"}),
])
def test_bash_completes(archive, words, expected):
    script = f"""
        source {archive}/completions/larder.bash
        COMP_WORDS=({' '.join(words)}); COMP_CWORD={len(words) - 1}
        _larder larder {words[-1]} {words[-2]}
        printf '%s\\n' "${{COMPREPLY[@]}}"
    """
    done = subprocess.run(["bash", "-euc", script], check=True, capture_output=True, text=True)
    assert expected <= set(done.stdout.split()), done.stdout


def test_the_manual_is_good_roff(archive):
    for page in sorted(archive.glob("man/*.1")):
        done = subprocess.run(["groff", "-man", "-Kutf8", "-Tutf8", "-ww", "-z", page], capture_output=True, text=True)
        assert done.stderr == "", page.name


def test_versions_agree():
    version = tomllib.loads((ROOT / "Cargo.toml").read_text())["workspace"]["package"]["version"]
    chart = yaml.safe_load((ROOT / "helm/larder/Chart.yaml").read_text())
    assert (chart["version"], chart["appVersion"]) == (version, version)
    rust = tomllib.loads((ROOT / "Cargo.toml").read_text())["workspace"]["package"]["rust-version"]
    assert f"rust:{rust}-bookworm" in (ROOT / "packaging/Containerfile").read_text()
    assert f"rust:{rust}-bookworm" in WORKFLOW.read_text()


def test_every_action_is_named_by_its_hash():
    jobs = yaml.safe_load(WORKFLOW.read_text())["jobs"]
    used = [step["uses"] for job in jobs.values() for step in job["steps"] if "uses" in step]
    assert used and all(re.fullmatch(r"actions/[a-z-]+@[0-9a-f]{40}", action) for action in used), used


def test_no_job_of_the_workflow_is_open_to_attack():
    command = [TOOLS / "bin/zizmor", "--offline", "--format", "json", WORKFLOW]
    done = subprocess.run(command, capture_output=True, text=True)
    findings = json.loads(done.stdout)
    assert [finding["desc"] for finding in findings if not finding["ignored"]] == []


@pytest.mark.skipif(not ACTIONLINT.exists(), reason="actionlint has to be compiled, by Go 1.25 or newer")
def test_the_workflow_is_sound():
    done = subprocess.run([ACTIONLINT, WORKFLOW], capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (0, "")


def test_the_image_and_the_chart_agree():
    image = (ROOT / "packaging/Containerfile").read_text()
    values = yaml.safe_load((ROOT / "helm/larder/values.yaml").read_text())
    user = values["containerSecurityContext"]["runAsUser"]
    assert f"USER {user}:{user}" in image
    assert re.search(r"^EXPOSE 8980 8981$", image, re.MULTILINE)
    assert "VOLUME /data" in image
