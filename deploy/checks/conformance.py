"""Runs the conformance kit of ../shared against `gatewayctl up -f` and holds its scores against floors that only rise.

The kit replays recorded provider traffic and drives the gateway with the official clients. It is not part of this repository:
where ../shared is absent this is a skip, told loudly. Floors are in conformance-floors.json, by suite, dialect and form; a run
that is better says so, and `--raise` writes the better figures down.

    GATEWAYCTL=target/debug/gatewayctl .venv/bin/python deploy/checks/conformance.py [--raise] [--shared ../shared] [--out DIR]
"""

import argparse
import json
import os
import pathlib
import shutil
import socket
import subprocess
import sys
import tempfile

HERE = pathlib.Path(__file__).resolve().parent
ROOT = HERE.parent.parent
FLOORS = HERE / "conformance-floors.json"
SUITES = "chat,responses,anthropic,scenarios"
DIALECTS = (
    "openai-chat,openai-responses,anthropic-messages,gemini-generate,bedrock-converse,cohere-v2,mistral,ollama-chat"
)
# A stream without its end reads as success to some clients and hangs others: not one is tolerated.
NEVER = ("no [DONE]", "finish_reason 0 times")
# Chat and Anthropic exchanges are scored by what the caller gets, scenarios by everything that is checked in them.
WHOLE = {"scenario"}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--shared", type=pathlib.Path, default=ROOT.parent / "shared")
    parser.add_argument("--out", type=pathlib.Path, help="keep the kit's report there")
    parser.add_argument("--raise", dest="raise_floors", action="store_true", help="write down floors that can be raised")
    args = parser.parse_args()
    if not (args.shared / "conformance").is_dir():
        print(f"SKIPPED: conformance, because {args.shared}/conformance is not there", file=sys.stderr)
        return 0
    with tempfile.TemporaryDirectory() as scratch:
        kit = pathlib.Path(scratch) / "conformance"
        shutil.copytree(args.shared / "conformance", kit)
        out = (args.out or pathlib.Path(scratch) / "out").resolve()
        run_kit(kit, args.shared / "fixtures", out)
        sys.path.insert(0, str(kit))
        import check_gateway as kit_scores  # The kit's own words for what counts.

        results = json.loads((out / "report.json").read_text())["results"]
        return judge(scores(results, kit_scores), refused(results), args.raise_floors)


def run_kit(kit, fixtures, out):
    """The kit in a process of its own, on ports that were free a moment ago."""
    gatewayctl = pathlib.Path(os.environ.get("GATEWAYCTL", ROOT / "target/debug/gatewayctl")).resolve()
    if not gatewayctl.exists():
        sys.exit(f"{gatewayctl} is not there; build it first: cargo build --package gatewayctl")
    command = [sys.executable, kit / "check_gateway.py", "--fixtures", fixtures.resolve(), "--adapter", "gateway"]
    command += ["--openapi", kit / "openapi/openapi.json", "--suite", SUITES, "--dialects", DIALECTS, "--out", out]
    # The adapter takes three ports in a row.
    command += ["--replay-port", free_port(1), "--gateway-port", free_port(3)]
    subprocess.run([str(part) for part in command], check=True, cwd=kit, env={**os.environ, "GATEWAYCTL": str(gatewayctl)})


def free_port(n_in_a_row):
    while True:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            first = probe.getsockname()[1]
        sockets = []
        try:
            for port in range(first, first + n_in_a_row):
                sockets.append(socket.socket())
                sockets[-1].bind(("127.0.0.1", port))
            return first
        except OSError:
            continue
        finally:
            for each in sockets:
                each.close()


def scores(results, kit):
    """Good and all exchanges by suite, then by dialect and form."""
    table = {}
    for result in results:
        good = kit.full_ok(result) if result["suite"] in WHOLE else kit.core_ok(result)
        row = f"{result['dialect']} {'stream' if result['stream'] else 'plain'}"
        n_good, n_all = table.setdefault(result["suite"], {}).get(row, (0, 0))
        table[result["suite"]][row] = (n_good + bool(good), n_all + 1)
    return table


def refused(results):
    """Failures of a kind that is never tolerated."""
    found = []
    for result in results:
        told = [word for word in result["detail"].get("framing", []) if word.startswith(NEVER)]
        if result["checks"].get("no_false_success") is False:
            told.append("a cut stream read as success")
        found += [f"{result['suite']} {result['id']} {result['tag'] or ''}: {word}" for word in told]
    return found


def percent(n_good, n_all):
    """One decimal, cut off: what is written down from a run never exceeds that run."""
    return int(1000 * n_good / n_all) / 10


def judge(measured, never, raise_floors):
    """Prints every score beside its floor; the exit code."""
    floors = json.loads(FLOORS.read_text())
    n_passed, failures, better = 0, list(never), {}
    unknown = {suite: {row: 0.0 for row in rows if row not in floors.get(suite, {})} for suite, rows in measured.items()}
    known = {suite: {**floors.get(suite, {}), **unknown.get(suite, {})} for suite in [*floors, *(set(unknown) - set(floors))]}
    for suite, rows in known.items():
        for row, floor in rows.items():
            n_good, n_all = measured.get(suite, {}).get(row, (0, 0))
            if n_all == 0:
                failures.append(f"{suite} {row}: nothing was judged")
                continue
            score = percent(n_good, n_all)
            print(f"{suite:14} {row:28} {n_good:4} of {n_all:4} = {score:5.1f} %   floor {floor:5.1f} %")
            if score < floor:
                failures.append(f"{suite} {row}: {score} % is below the floor of {floor} %")
            else:
                n_passed += 1
            # One exchange less than the run: on a busy machine one may run into a client's time limit.
            candidate = percent(n_good - 1, n_all)
            if candidate > floor:
                better.setdefault(suite, {})[row] = candidate
    for failure in failures:
        print(f"FAILED: {failure}", file=sys.stderr)
    if better and not failures:
        if raise_floors:
            raised = {suite: {**rows, **better.get(suite, {})} for suite, rows in known.items()}
            FLOORS.write_text(json.dumps(raised, indent=2) + "\n")
            print(f"floors raised: {json.dumps(better)}")
        else:
            print(f"floors that can be raised (run with --raise): {json.dumps(better)}")
    print(f"{n_passed} passed, {len(failures)} failed")
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
