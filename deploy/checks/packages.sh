#!/bin/sh
# Installs the programs that the tests start and this machine lacks, where that is permitted: as root, with apt. Elsewhere it
# names them; the tests that need one then say SKIPPED, or fail where CI is set.
set -eu

missing=
# need PACKAGE FILE…: the package is missing if none of the files is there.
need() {
  package=$1
  shift
  for file in "$@"; do
    [ -e "$file" ] && return
  done
  command -v "$package" >/dev/null && return
  missing="$missing $package"
}
need postgresql /usr/lib/postgresql/*/bin/initdb "$(command -v initdb || true)"
need haproxy /usr/sbin/haproxy
need clickhouse-server /usr/sbin/clickhouse-server "$(command -v clickhouse || true)"
need redis-server "$(command -v valkey-server || true)"
need chromium-headless-shell "$(command -v chromium || command -v google-chrome || true)"
need curl /usr/bin/curl
need libfaketime /usr/lib/*/faketime/libfaketime.so.1
# Its promtool reads what /metrics says; the server itself is not started.
need prometheus "$(command -v promtool || true)"
[ -n "$missing" ] || exit 0

if [ "$(id -u)" != 0 ] || ! command -v apt-get >/dev/null; then
  echo "SKIPPED: not installed, and not mine to install:$missing" >&2
  exit 0
fi
echo "installing for the tests:$missing" >&2
# Debian's package would make a database cluster of its own and start it on the usual port. The tests make theirs.
common=/etc/postgresql-common
if [ ! -e $common/createcluster.conf ]; then
  mkdir -p $common
  echo 'create_main_cluster = false' >$common/createcluster.conf
fi
apt-get update -qq
known=
for package in $missing; do
  # One that this system does not have must not keep the others away.
  if apt-cache show "$package" >/dev/null 2>&1; then known="$known $package"; else echo "SKIPPED: there is no package $package" >&2; fi
done
# shellcheck disable=SC2086 # names without blanks
DEBIAN_FRONTEND=noninteractive UCF_FORCE_CONFFOLD=1 apt-get install -y -qq --no-install-recommends \
  -o Dpkg::Options::=--force-confold $known >/dev/null
