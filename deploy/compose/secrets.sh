#!/bin/sh
# Makes the secrets of the compose file in `secrets/`, each once. The folder is for its owner only; the files in it can be read by
# the containers, which run as somebody else.
set -eu
umask 077
cd "$(dirname "$0")"
mkdir -p secrets

random() {
  head -c 32 /dev/urandom | "$@"
}
# keep NAME: what comes in, unless there is one already.
keep() {
  [ -e "secrets/$1" ] && return
  cat >"secrets/$1.new"
  chmod 444 "secrets/$1.new"
  mv "secrets/$1.new" "secrets/$1"
}

random od -An -v -tx1 | tr -d ' \n' | keep postgres-password
printf 'postgres://gateway:%s@postgres/gateway' "$(cat secrets/postgres-password)" | keep database-url
printf 'gw_master_%s' "$(random base64 | tr -d '+/=\n')" | keep master-key
random base64 | tr -d '\n' | keep kek
random base64 | tr -d '\n' | keep state-key
# Filled in once there is a control plane to make it.
[ -e secrets/join-token ] || { : >secrets/join-token && chmod 644 secrets/join-token; }
echo "secrets/ is complete; a control plane makes the join token" >&2
