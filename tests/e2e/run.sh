#!/usr/bin/env bash
# Runs the end-to-end tests on a real cluster: tests/e2e/run.sh [--if-built] [pytest arguments]
#
# Everything runs in network, mount and process namespaces of its own, with all files below one
# temporary folder: when this script ends, however it ends, so do all its processes and mounts.
# With --if-built it builds and installs nothing, and says that it did not run where it would have to.
set -euo pipefail
cd "$(dirname "$0")/../.."

if [ "${1:-}" = --if-built ]; then
    shift
    if [ "$(id -u)" != 0 ] || ! tests/e2e/build.sh --check; then
        echo "END-TO-END TESTS WERE NOT RUN: there is no cluster here; \`make e2e\` as root builds it"
        exit 0
    fi
else
    [ "$(id -u)" = 0 ] || { echo "the end-to-end tests need root" >&2; exit 1; }
    tests/e2e/build.sh
    tests/e2e/images.sh
fi
IPLEDGER_E2E_DIR=$(mktemp -d /tmp/ipl-e2e.XXXXXX)
export IPLEDGER_E2E_DIR
before=$(mktemp "$IPLEDGER_E2E_DIR/cgroups.XXXXXX")
containers() { find /sys/fs/cgroup -path '*/k8s.io*' -type d 2>/dev/null | sort; }
containers > "$before"

clean() {
    # runc leaves an empty cgroup behind where a container was killed from outside.
    containers | comm -13 "$before" - | sort -r | xargs -r rmdir 2>/dev/null || true
    [ -n "${IPLEDGER_E2E_KEEP:-}" ] || rm -rf "$IPLEDGER_E2E_DIR"
}
trap clean EXIT

# shellcheck disable=SC2016
unshare --net --mount --pid --fork --kill-child --mount-proc --propagation slave sh -c '
    mount -t tmpfs tmpfs /run && ip link set lo up && "$@"
' sh .venv/bin/python -m pytest --timeout 600 tests/e2e "$@"
