"""Holds a running gateway against its own OpenAPI document: schemathesis makes requests, good and bad, of every operation of both
planes. An answer of 5xx, or one that is not as the document says, fails.

    GATEWAYCTL=target/debug/gatewayctl .venv/bin/python deploy/checks/openapi.py
"""

import json
import os
import pathlib
import subprocess
import sys
import tempfile
import time

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
CHECKS = "not_a_server_error,status_code_conformance,content_type_conformance,response_schema_conformance"
# What one run may take, in seconds. On two idle cores it is two minutes for the data plane, most of them spent on making requests up,
# and a quarter of one for the admin API.
PATIENCE = 400
# Paths that the control plane answers: its own, the dashboard's, and those of other gateways.
OF_ADMIN = "^/(admin|ui|key|team|user|budget|model/info|spend|api/config|v1/audit|v1/management)"
CONFIGURATION = """providers:
  - {name: demo, kind: demo}
models:
  - name: m
    targets: [{provider: demo, model: demo}]
"""


def main():
    gatewayctl = pathlib.Path(os.environ.get("GATEWAYCTL", ROOT / "target/debug/gatewayctl")).resolve()
    if not gatewayctl.exists():
        sys.exit(f"{gatewayctl} is not there; build it first: cargo build --package gatewayctl")
    with tempfile.TemporaryDirectory() as folder:
        folder = pathlib.Path(folder)
        (folder / "gateway.yaml").write_text(CONFIGURATION)
        (folder / "openapi.json").write_text(json.dumps(aimed(json.loads((ROOT / "docs/api/openapi.json").read_text()))))
        command = [gatewayctl, "up", "-f", "gateway.yaml", "--data-dir", "data", "--ready-file", "ready.json"]
        command += ["--listen", "127.0.0.1:0", "--admin-listen", "127.0.0.1:0", "--fleet-listen", "127.0.0.1:0"]
        with (folder / "log").open("w") as log:
            gateway = subprocess.Popen(command, cwd=folder, stdout=log, stderr=log)
        try:
            ready = wait_for(folder / "ready.json", gateway)
            data = ["--exclude-path-regex", OF_ADMIN]
            # What follows without an end is not read to its end.
            admin = ["--include-path-regex", OF_ADMIN, "--exclude-path", "/admin/logs/follow"]
            failed = run(folder, ready["base_url"], ready["virtual_key"], data)
            # The admin API last: what it is told changes the gateway.
            failed |= run(folder, ready["admin_url"], ready["master_key"], admin)
        finally:
            gateway.terminate()
            gateway.wait(timeout=30)
        return failed


def aimed(document):
    """Names of models and providers are those that there are, so that requests get beyond the names."""
    for schema in document["components"]["schemas"].values():
        model = schema.get("properties", {}).get("model", {})
        if "GET /v1/models" in model.get("description", ""):
            model["enum"] = ["m", "demo/x", "nobody"]
    for item in document["paths"].values():
        for operation in item.values():
            for parameter in operation.get("parameters", []) if isinstance(operation, dict) else []:
                names = {"model": ["m", "nobody"], "provider": ["demo", "nobody"]}.get(parameter["name"])
                if parameter["in"] == "path" and names:
                    parameter["schema"]["enum"] = names
    return document


def wait_for(path, process):
    until = time.monotonic() + 60
    while not path.exists():
        if process.poll() is not None or time.monotonic() > until:
            sys.exit("the gateway did not start:\n" + (path.parent / "log").read_text())
        time.sleep(0.05)
    return json.loads(path.read_text())


def run(folder, url, key, selection):
    """Whether something was found."""
    command = [pathlib.Path(sys.executable).parent / "schemathesis", "run", folder / "openapi.json", "--url", url, *selection]
    command += ["--header", f"Authorization: Bearer {key}", "--checks", CHECKS, "--phases", "examples,coverage,fuzzing"]
    command += ["--max-examples", "10", "--seed", "1", "--request-timeout", "20", "--continue-on-failure"]
    # Which inputs are worth making is not what this asks.
    command += ["--suppress-health-check", "all", "--generation-database", ":memory:"]
    return subprocess.run([str(word) for word in command], cwd=folder, timeout=PATIENCE).returncode != 0


if __name__ == "__main__":
    sys.exit(main())
