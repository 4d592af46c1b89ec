#!/usr/bin/env bash
# Builds `gatewayctl` (all programs in one) as it is released: laid out by a profile of its own at work (profile-guided optimisation). Three steps:
# a program that counts, a minute of the benchmark's traffic through it, the program. Nothing counts in what comes out.
#
# It comes to target/release, with the benchmark's programs, which are built alike.
#
# The profile is made here and not kept in the repository: it is worth something only to the same sources, compiler and target.
set -euo pipefail
cd "$(dirname "$0")/.."
target_dir=${CARGO_TARGET_DIR:-target}
mkdir -p "$target_dir/profiled"
counted=$(cd "$target_dir/profiled" && pwd)
packages=(--package gatewayctl --package gateway-bench --bins)

host=$(rustc --version --verbose | sed -n 's/^host: //p')
merge="$(rustc --print sysroot)/lib/rustlib/$host/bin/llvm-profdata"
[ -x "$merge" ] || rustup component add llvm-tools

echo "1/3 programs that count what they do"
RUSTFLAGS="-Cprofile-generate=$counted/builds" cargo build --release --locked --target-dir "$counted" "${packages[@]}"

if [ "$counted/release/gatewayctl" -nt "$counted/latest" ]; then
  echo "2/3 a minute of traffic"
  rm -rf "$counted/runs" "$counted"/*.profdata
  LLVM_PROFILE_FILE="$counted/runs/%m.profraw" \
    "$counted/release/bench" --quick --only S1,S2,S3,S4,S5,S5s --targets node --out "$counted/training" >/dev/null
  # Sparse: what was not called is compiled as it always was, and not as something that never happens.
  "$merge" merge --sparse --output "$counted/new" "$counted"/runs/*.profraw
  # Named by what it says: another profile is another build.
  mv "$counted/new" "$counted/$(sha256sum "$counted/new" | cut -c 1-16).profdata"
  rm -rf "$counted/runs" "$counted/builds"
  touch "$counted/latest"
fi

echo "3/3 the programs"
RUSTFLAGS="-Cprofile-use=$(echo "$counted"/*.profdata)" cargo build --release --locked "${packages[@]}"
