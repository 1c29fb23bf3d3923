"""What a security scanner says of the rendered objects: nothing, but for what is argued here."""

import json
import subprocess

import yaml
from conftest import TOOLS, render

# By check and kind of object.
ARGUED = {
    # A limit of CPU throttles the server while cores idle, and every build waits for it; the request bounds its share.
    ("CKV_K8S_11", "StatefulSet"): "CPU limits should be set",
    ("CKV_K8S_11", "Pod"): "CPU limits should be set",
    # A release is named by its tag; who wants a digest sets image.digest.
    ("CKV_K8S_43", "StatefulSet"): "Image should use digest",
    ("CKV_K8S_43", "Pod"): "Image should use digest",
    # With a tag that never moves, asking the registry at each start only adds a way to fail.
    ("CKV_K8S_15", "StatefulSet"): "Image Pull Policy should be Always",
    ("CKV_K8S_15", "Pod"): "Image Pull Policy should be Always",
    # The pod of `helm test` does one thing and ends, and nobody connects to it.
    ("CKV_K8S_8", "Pod"): "Liveness Probe Should be Configured",
    ("CKV_K8S_9", "Pod"): "Readiness Probe Should be Configured",
    ("CKV2_K8S_6", "Pod"): "Minimize the admission of pods which lack an associated NetworkPolicy",
}


def test_a_scanner_finds_nothing_but_what_is_argued(tmp_path):
    objects = render({"unsafeAnonymous": True, "serviceMonitor": {"enabled": True}})
    manifest = tmp_path / "manifest.yaml"
    manifest.write_text(yaml.safe_dump_all(list(objects)))
    checkov = [TOOLS / "policy/bin/checkov", "--framework", "kubernetes", "--skip-download", "--output", "json", "--file", manifest]
    done = subprocess.run(checkov, capture_output=True, text=True)
    results = json.loads(done.stdout)["results"]
    assert len(results["passed_checks"]) > 100, done.stderr
    found = {(check["check_id"], check["resource"].split(".")[0]): check["check_name"] for check in results["failed_checks"]}
    # Both ways: an argument for what is no longer found goes.
    assert found == ARGUED
