"""Runs the conformance kit of ../shared against `gatewayctl up -f` and holds its scores against floors that only rise.

The kit replays recorded provider traffic, drives the gateway with the official clients and holds replies, chunks and errors
against OpenAI's OpenAPI document. It is not part of this repository: where ../shared is absent this is a skip, told loudly. It
runs in parts side by side, each with a gateway of its own. Floors are in conformance-floors.json, by suite, dialect and form; a
run that is better says so, and `--raise` writes the better figures down.

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
import time

HERE = pathlib.Path(__file__).resolve().parent
ROOT = HERE.parent.parent
FLOORS = HERE / "conformance-floors.json"
SUITES = ("chat", "responses", "embeddings", "endpoints", "anthropic", "scenarios", "node")
# What one core does in about the time in which the other does the rest.
PARTS = (
    ("openai-chat", "mistral", "cohere-v2", "ollama-chat")
    + ("openai-embeddings", "cohere-embed", "gemini-embed", "ollama-embed"),
    ("anthropic-messages", "gemini-generate", "bedrock-converse", "openai-responses")
    + ("openai-completions", "openai-images", "openai-audio", "openai-moderations", "openai-files", "openai-batches"),
)
# A stream without its end reads as success to some clients and hangs others: not one is tolerated.
NEVER = ("no [DONE]", "finish_reason 0 times")
# Scored by everything that is checked in an exchange; the others by what the caller gets. Chat is scored both ways.
WHOLE = {"responses", "scenario"}
BOTH = {"chat": "chat, whole"}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--shared", type=pathlib.Path, default=ROOT.parent / "shared")
    parser.add_argument("--out", type=pathlib.Path, help="keep the kit's report there")
    parser.add_argument("--raise", dest="raise_floors", action="store_true", help="write down floors that can be raised")
    args = parser.parse_args()
    if not (args.shared / "conformance").is_dir():
        print(f"SKIPPED: conformance, because {args.shared}/conformance is not there", file=sys.stderr)
        return 0
    suites = [suite for suite in SUITES if suite != "node" or has_node_clients()]
    began = time.monotonic()
    with tempfile.TemporaryDirectory() as scratch:
        kit = pathlib.Path(scratch) / "conformance"
        shutil.copytree(args.shared / "conformance", kit)
        results = run_kit(kit, args.shared / "fixtures", suites, (args.out or pathlib.Path(scratch) / "out").resolve())
        sys.path.insert(0, str(kit))
        import check_gateway as kit_scores  # The kit's own words for what counts.

        print(f"{len(results)} exchanges in {time.monotonic() - began:.0f} s, {len(PARTS)} parts side by side")
        tell_failures(results, kit_scores)
        return judge(scores(results, kit_scores), refused(results), set(SUITES) - set(suites), args.raise_floors)


def has_node_clients():
    """Whether `make test` could install them; without them it is a skip, and an error where CI is set."""
    if (ROOT / ".node/node_modules/openai").is_dir():
        return True
    print("SKIPPED: the conformance kit's Node suite, because .node has no clients", file=sys.stderr)
    if os.environ.get("CI"):
        sys.exit(1)
    return False


def run_kit(kit, fixtures, suites, out):
    """All parts at once, each a process of its own on ports that were free a moment ago; the results of all."""
    gatewayctl = pathlib.Path(os.environ.get("GATEWAYCTL", ROOT / "target/debug/gatewayctl")).resolve()
    if not gatewayctl.exists():
        sys.exit(f"{gatewayctl} is not there; build it first: cargo build --package gatewayctl")
    environment = {**os.environ, "GATEWAYCTL": str(gatewayctl), "NODE_SDK_DIR": str(ROOT / ".node")}
    out.mkdir(parents=True, exist_ok=True)
    parts = []
    for n_part, dialects in enumerate(PARTS):
        command = [sys.executable, kit / "check_gateway.py", "--fixtures", fixtures.resolve(), "--adapter", "gateway"]
        command += ["--openapi", kit / "openapi/openapi.json", "--suite", ",".join(suites)]
        command += ["--dialects", ",".join(dialects), "--out", out / str(n_part)]
        # One for the replay, and the three in a row that the adapter takes.
        port = free_ports(4, taken=[port for _, port, _ in parts])
        command += ["--replay-port", port, "--gateway-port", port + 1]
        log = out / f"{n_part}.log"
        with log.open("w") as output:
            words = [str(word) for word in command]
            process = subprocess.Popen(words, cwd=kit, env=environment, stdout=output, stderr=subprocess.STDOUT)
        parts.append((process, port, log))
    # Each is waited for, whatever becomes of the others: it ends the gateway that it started.
    ended = [process.wait() for process, _, _ in parts]
    for status, (_, _, log) in zip(ended, parts):
        if status != 0:
            sys.exit(f"{log.read_text()}\nthe kit ended with {status}")
    reports = [out / str(n_part) / "report.json" for n_part in range(len(PARTS))]
    return [result for report in reports for result in json.loads(report.read_text())["results"]]


def free_ports(n_in_a_row, taken):
    """The first of some ports in a row that nobody listens on and that are not promised to another part."""
    while True:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            first = probe.getsockname()[1]
        if any(abs(first - other) < n_in_a_row for other in taken):
            continue
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


def tell_failures(results, kit):
    """Each exchange that is not whole, with what was not as it should be."""
    for result in results:
        if not kit.full_ok(result):
            wrong = [check for check, is_good in result["checks"].items() if is_good is False]
            name = f"{result['suite']} {result['dialect']} {result['id']} {result['tag'] or ''}".rstrip()
            print(f"not whole: {name}: {', '.join(wrong)}: {json.dumps(result['detail'])[:300]}")


def scores(results, kit):
    """Good and all exchanges by suite, then in all and by dialect and form."""
    table = {}

    def count(suite, rows, good):
        for row in rows:
            n_good, n_all = table.setdefault(suite, {}).get(row, (0, 0))
            table[suite][row] = (n_good + bool(good), n_all + 1)

    for result in results:
        suite = result["suite"]
        rows = ("all", f"{result['dialect']} {'stream' if result['stream'] else 'plain'}")
        count(suite, rows, kit.full_ok(result) if suite in WHOLE else kit.core_ok(result))
        if suite in BOTH:
            count(BOTH[suite], rows, kit.full_ok(result))
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


def judge(measured, never, skipped, raise_floors):
    """Prints every score beside its floor; the exit code."""
    floors = {suite: rows for suite, rows in json.loads(FLOORS.read_text()).items() if suite not in skipped}
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
        if raise_floors and not skipped:
            raised = {suite: {**rows, **better.get(suite, {})} for suite, rows in known.items()}
            FLOORS.write_text(json.dumps(raised, indent=2) + "\n")
            print(f"floors raised: {json.dumps(better)}")
        else:
            print(f"floors that can be raised (run with --raise): {json.dumps(better)}")
    print(f"{n_passed} passed, {len(failures)} failed")
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
