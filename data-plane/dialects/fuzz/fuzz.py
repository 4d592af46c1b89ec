"""Fuzzes every decoder for a time and ends with an error where one breaks.

    python3 data-plane/dialects/fuzz/fuzz.py [--seconds 30] [--shared ../shared] [--target-dir target] [TARGET ...]

Inputs that were found to reach something new are kept in <target-dir>/fuzz/corpus; recorded traffic, where ../shared is there, is
where they begin. What breaks is left in <target-dir>/fuzz/artifacts/<target>, and `<binary> <file>` repeats it.
"""

import argparse
import base64
import concurrent.futures
import json
import os
import pathlib
import re
import struct
import subprocess
import sys

HERE = pathlib.Path(__file__).resolve().parent
ROOT = HERE.parent.parent.parent
# As in src/lib.rs.
REPLY, STREAM, REQUEST, LINES = 0, 1, 2, 4
# What libFuzzer needs from the compiler; all of these are flags of stable Rust.
COVERAGE = [
    "-Cpasses=sancov-module",
    "-Cllvm-args=-sanitizer-coverage-level=4",
    "-Cllvm-args=-sanitizer-coverage-inline-8bit-counters",
    "-Cllvm-args=-sanitizer-coverage-pc-table",
    "-Cllvm-args=-sanitizer-coverage-trace-compares",
]
MAX_INPUT = 4096
# Growth beyond this is a finding: no input is larger than 4 KiB.
RSS_MIB = 1024


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=int, default=30, help="per target")
    parser.add_argument("--seed", type=int, default=0, help="of the inputs that are tried; 0: another each time")
    parser.add_argument("--shared", type=pathlib.Path, default=ROOT.parent / "shared")
    parser.add_argument("--target-dir", type=pathlib.Path, default=ROOT / "target")
    parser.add_argument("targets", nargs="*", help="default: all")
    args = parser.parse_args()
    targets = args.targets or sorted(path.stem for path in (HERE / "targets").glob("*.rs"))
    home = (args.target_dir / "fuzz").resolve()
    binaries = build(home)
    n_seeds = seeds(args.shared / "fixtures", home / "corpus")
    print(f"{n_seeds} recorded messages to begin with" if n_seeds else f"SKIPPED: seeds, because {args.shared}/fixtures is not there")
    with concurrent.futures.ThreadPoolExecutor(max_workers=os.cpu_count()) as pool:
        results = list(pool.map(lambda target: fuzz(binaries / target, home, args.seconds, args.seed), targets))
    return max(results)


def build(home):
    triple = re.search(r"host: (\S+)", subprocess.check_output(["rustc", "-vV"], text=True)).group(1)
    # With a target triple, programs of the build itself are spared the flags.
    command = ["cargo", "build", "--release", "--locked", "--manifest-path", HERE / "Cargo.toml", "--target", triple]
    environment = {**os.environ, "RUSTFLAGS": " ".join(COVERAGE), "CARGO_TARGET_DIR": str(home)}
    subprocess.run(command, check=True, env=environment)
    return home / triple / "release"


def seeds(fixtures, corpus):
    """One input for each recorded request, reply and stream."""
    n_seeds = 0
    for path in sorted(fixtures.glob("*/*.json")):
        if path.name.endswith(".expected.json"):
            continue
        folder = corpus / path.parent.name.replace("-", "_")
        folder.mkdir(parents=True, exist_ok=True)
        for kind, data in messages(json.loads(path.read_text())):
            if len(data) <= MAX_INPUT:
                (folder / f"{path.stem}.{kind}").write_bytes(bytes([kind, len(data) % 256]) + data)
                n_seeds += 1
    return n_seeds


def messages(exchange):
    response = exchange["response"]
    yield REQUEST, json.dumps(exchange["request"].get("body")).encode()
    for form in ("sse", "ndjson"):
        if form in response:
            lines = [line.removeprefix("data:").strip() for line in response[form].splitlines()]
            yield STREAM, response[form].encode()
            yield LINES, "\n".join(line for line in lines if line.startswith(("{", "["))).encode()
    if "body_base64" in response:
        data = base64.b64decode(response["body_base64"])
        yield STREAM, data
        yield LINES, b"\n".join(frames(data))
    if "body" in response:
        yield REPLY, json.dumps(response["body"]).encode()


def frames(data):
    """The name and the payload of each message of an AWS event stream."""
    while len(data) >= 16:
        length, n_headers = struct.unpack(">II", data[:8])
        name = re.search(rb":e(?:vent|xception)-type\x07(..)", data[12 : 12 + n_headers], re.DOTALL)
        end = name.end() + int.from_bytes(name.group(1), "big") if name else 0
        yield data[12 + name.end() : 12 + end] + b" " + data[12 + n_headers : length - 4] if name else b""
        data = data[max(length, 16) :]


def fuzz(binary, home, seconds, seed):
    """One target. Its last lines say how far it came."""
    corpus, artifacts = home / "corpus" / binary.name, home / "artifacts" / binary.name
    corpus.mkdir(parents=True, exist_ok=True)
    artifacts.mkdir(parents=True, exist_ok=True)
    options = [f"-max_total_time={seconds}", f"-seed={seed}", f"-max_len={MAX_INPUT}", f"-rss_limit_mb={RSS_MIB}", "-timeout=10"]
    options += [f"-artifact_prefix={artifacts}/", "-print_final_stats=1", "-verbosity=1"]
    run = subprocess.run([binary, corpus, *options], stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True, errors="replace")
    numbers = dict(re.findall(r"stat::(\w+):\s+(\d+)", run.stderr))
    verdict = "ok" if run.returncode == 0 else f"BROKEN (exit code {run.returncode})"
    units, rss = numbers.get("number_of_executed_units", "?"), numbers.get("peak_rss_mb", "?")
    print(f"{binary.name:20} {units:>10} inputs {rss:>5} MiB  {verdict}", flush=True)
    if run.returncode != 0:
        print("\n".join(run.stderr.splitlines()[-40:]), file=sys.stderr, flush=True)
    return run.returncode


if __name__ == "__main__":
    sys.exit(main())
