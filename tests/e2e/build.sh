#!/usr/bin/env bash
# Builds the Kubernetes programs of the end-to-end tests, once, from Debian's source package.
#
# Debian ships only kubectl as a program, but the source package of bookworm is complete. The work
# is kept outside the checkout, in ${XDG_CACHE_HOME:-~/.cache}/ipledger-e2e: what is there already
# is not done again, and a build that was broken off goes on where it was. The first build takes
# about ten minutes of two cores and 3 GB of disk, of which 400 MB stay.
#
# With --check it makes nothing: it says what a cluster without services misses, and fails if it
# misses anything.
set -euo pipefail

CACHE=${XDG_CACHE_HOME:-$HOME/.cache}/ipledger-e2e
BIN=$CACHE/bin
WORK=$CACHE/work
CLUSTER=(kube-apiserver kube-controller-manager kube-scheduler kubelet)
PROGRAMS=("${CLUSTER[@]}" kube-proxy) # Services are for the installed chart, and for nobody else.

# Debian package -> a file it brings; only what is missing is installed.
RUN_PACKAGES=(etcd-server:/usr/bin/etcd etcd-client:/usr/bin/etcdctl containerd:/usr/bin/containerd
    runc:/usr/sbin/runc containernetworking-plugins:/usr/lib/cni/bridge iproute2:/sbin/ip
    kubernetes-client:/usr/bin/kubectl openssl:/usr/bin/openssl)
CHART_PACKAGES=(buildah:/usr/bin/buildah mmdebstrap:/usr/bin/mmdebstrap iptables:/usr/sbin/iptables)
BUILD_PACKAGES=(golang-1.19-go:/usr/lib/go-1.19/bin/go golang-1.19-src:/usr/share/go-1.19/src/fmt
    golang-github-modern-go-reflect2-dev:/usr/share/gocode/src/github.com/modern-go/reflect2
    golang-github-modern-go-concurrent-dev:/usr/share/gocode/src/github.com/modern-go/concurrent
    rsync:/usr/bin/rsync dpkg-dev:/usr/bin/dpkg-source make:/usr/bin/make)

say() { printf '%s %s\n' "$(date +%T)" "$*"; }

find_missing() { # find_missing PACKAGE:FILE... sets $missing
    local entry
    missing=()
    for entry in "$@"; do [ -e "${entry#*:}" ] || missing+=("${entry%%:*}"); done
}

install_missing() {
    local missing
    find_missing "$@"
    [ ${#missing[@]} -gt 0 ] || return 0
    say "installing Debian packages: ${missing[*]}"
    apt-get update -q >/dev/null
    without_services env DEBIAN_FRONTEND=noninteractive \
        apt-get install -y -q --no-install-recommends "${missing[@]}" >/dev/null
}

# No service is started: the tests start their own, in their own namespaces.
without_services() {
    local policy=/usr/sbin/policy-rc.d
    [ ! -e "$policy" ] || { "$@"; return; }
    printf '#!/bin/sh\nexit 101\n' > "$policy"
    chmod 755 "$policy"
    trap 'rm -f /usr/sbin/policy-rc.d' EXIT
    "$@"
    rm -f "$policy"
    trap - EXIT
}

# The source list is the machine's own with deb-src for deb, seen by this script only.
fetch_source() {
    [ ! -e "$WORK/source.done" ] || return 0
    say "fetching Debian's source package kubernetes"
    local list=$WORK/deb-src.list lists=$WORK/apt-lists own=/etc/apt/sources.list.d/debian.sources
    mkdir -p "$lists/partial"
    if [ -e "$own" ]; then
        list=$WORK/deb-src.sources
        sed 's/^Types:.*/Types: deb-src/' "$own" > "$list"
    else
        sed -n 's/^deb /deb-src /p' /etc/apt/sources.list > "$list"
    fi
    local options=(-o "Dir::Etc::sourcelist=$list" -o Dir::Etc::sourceparts=/dev/null
        -o "Dir::State::lists=$lists" -o APT::Get::List-Cleanup=0)
    apt-get "${options[@]}" update -q >/dev/null
    (cd "$WORK" && apt-get "${options[@]}" source -q --download-only kubernetes/bookworm >/dev/null)
    rm -rf "$WORK/src"
    dpkg-source -x "$WORK"/kubernetes_*.dsc "$WORK/src" >/dev/null
    touch "$WORK/source.done"
}

# The vendored reflect2 1.0.1 crashes with Go 1.18 and later, at the first resource definition.
replace_reflect2() {
    local vendored=$WORK/src/vendor/github.com/modern-go/reflect2
    rm -f "$vendored"/*.go "$vendored"/*.s
    cp /usr/share/gocode/src/github.com/modern-go/reflect2/*.{go,s} "$vendored"
    rm -f "$vendored"/*_test.go
}

build() { # build PROGRAM...
    mkdir -p "$WORK/src/.go/src/k8s.io"
    ln -sfn ../../.. "$WORK/src/.go/src/k8s.io/kubernetes"
    local what=("${@/#/cmd/}")
    (cd "$WORK/src" && env -i HOME="$WORK/home" GOPATH="$PWD/.go" GOMAXPROCS="${GOMAXPROCS:-2}" \
        PATH=/usr/lib/go-1.19/bin:/usr/sbin:/usr/bin:/sbin:/bin CGO_ENABLED=0 \
        nice -n 19 make WHAT="${what[*]}" GOFLAGS="") >> "$WORK/build.log" 2>&1 || {
        tail -20 "$WORK/build.log" >&2
        say "the build failed; the whole of it is in $WORK/build.log" >&2
        exit 1
    }
    local program
    for program in "$@"; do
        install -D -m 755 "$WORK/src/_output/local/go/bin/$program" "$BIN/.$program.new"
        mv "$BIN/.$program.new" "$BIN/$program"
    done
}

if [ "${1:-}" = --check ]; then
    find_missing "${RUN_PACKAGES[@]}"
    for program in "${CLUSTER[@]}"; do [ -x "$BIN/$program" ] || missing+=("$program"); done
    [ ${#missing[@]} -eq 0 ] || { say "not there: ${missing[*]}"; exit 1; }
    exit 0
fi

mkdir -p "$WORK/home" "$BIN"
exec 9> "$CACHE/lock"
flock 9 # Two builds at once would overwrite each other.

install_missing "${RUN_PACKAGES[@]}" "${CHART_PACKAGES[@]}"
missing=()
for program in "${PROGRAMS[@]}"; do [ -x "$BIN/$program" ] || missing+=("$program"); done
if [ ${#missing[@]} -gt 0 ]; then
    install_missing "${BUILD_PACKAGES[@]}"
    fetch_source
    replace_reflect2
    for program in "${missing[@]}"; do
        say "building $program"
        build "$program"
    done
    rm -rf "$WORK" # The programs are all that is used from here on.
fi
say "ready: ${PROGRAMS[*]} in $BIN"
