#!/usr/bin/env bash
# Builds the images of the chart for the end-to-end tests, without docker and without a registry.
#
# buildah does what docs/how-to/install.md says to docker. What is else: the base image of
# deploy/Dockerfile is made of Debian's packages, under the name of the real one, and pip takes what
# this machine's pip has downloaded. The image of NATS is the server that the tests run everywhere,
# under the name that the chart asks for. All is kept in ${XDG_CACHE_HOME:-~/.cache}/ipledger-e2e;
# a layer whose files are the same is not built again.
set -euo pipefail
cd "$(dirname "$0")/../.."

IMAGES=${XDG_CACHE_HOME:-$HOME/.cache}/ipledger-e2e/images
BASE=docker.io/library/$(sed -n 's/^FROM \(.*\) AS build$/\1/p' deploy/Dockerfile)
NATS=docker.io/library/$(sed -n 's/^    image: \(nats:.*\)$/\1/p' deploy/chart/ipledger/values.yaml)

say() { printf '%s %s\n' "$(date +%T)" "$*"; }
buildah() { command buildah --root "$IMAGES/storage" --runroot "$IMAGES/run" --storage-driver overlay "$@"; }

make_base() {
    buildah inspect --type image "$BASE" >/dev/null 2>&1 && return
    say "making the base image of Debian's packages"
    mmdebstrap --quiet --variant=minbase --include=python3-venv,python-is-python3,ca-certificates \
        --dpkgopt='path-exclude=/usr/share/doc/*' --dpkgopt='path-exclude=/usr/share/man/*' \
        --dpkgopt='path-exclude=/usr/share/locale/*' bookworm "$IMAGES/base.tar"
    local container
    container=$(buildah from scratch)
    buildah add --quiet "$container" "$IMAGES/base.tar" / >/dev/null
    buildah commit --quiet --rm "$container" "$BASE" >/dev/null
    rm "$IMAGES/base.tar"
}

download_wheels() {
    local wheels
    wheels=$IMAGES/wheels-$(sha256sum < deploy/requirements.txt | cut -c1-16)
    if [ ! -e "$wheels" ]; then
        say "downloading what is locked"
        rm -rf "$IMAGES"/wheels-*
        .venv/bin/pip download -qq --require-hashes -r deploy/requirements.txt -d "$wheels.new"
        .venv/bin/pip download -qq 'setuptools>=77' -d "$wheels.new" # pyproject.toml builds with it
        mv "$wheels.new" "$wheels"
    fi
    printf '[global]\nno-index = true\nfind-links = /wheels\n' > "$IMAGES/pip.conf"
    volumes=(--volume "$wheels:/wheels:ro" --volume "$IMAGES/pip.conf:/etc/pip.conf:ro")
}

build_ours() {
    local words
    read -ra words < <(grep '^docker build ' docs/how-to/install.md)
    say "${words[*]}"
    buildah "${words[1]}" --quiet --layers "${volumes[@]}" "${words[@]:2}" > "$IMAGES/ipledger.id"
    pack ipledger "$(sed -n 's/^docker build .* -t \(\S*\) .*$/\1/p' docs/how-to/install.md)"
}

build_nats() {
    local folder=$IMAGES/nats
    mkdir -p "$folder"
    cp .venv/bin/nats-server "$folder"
    printf 'FROM scratch\nCOPY nats-server /usr/local/bin/\nENTRYPOINT ["/usr/local/bin/nats-server"]\n' \
        > "$folder/Dockerfile"
    buildah build --quiet --layers -t "$NATS" "$folder" > "$IMAGES/nats.id"
    pack nats "$NATS"
}

pack() { # pack FILE NAME writes FILE.tar anew if the image is another one
    local id
    id=$(cat "$IMAGES/$1.id")
    [ ! -e "$IMAGES/$1.tar" ] || [ "$(cat "$IMAGES/$1.packed")" != "$id" ] || return 0
    say "packing $2"
    rm -f "$IMAGES/$1.tar"
    buildah push --quiet "$id" "docker-archive:$IMAGES/$1.tar:$2"
    echo "$id" > "$IMAGES/$1.packed"
}

mkdir -p "$IMAGES"
exec 9> "$IMAGES/lock"
flock 9
make_base
download_wheels
build_ours
build_nats
say "ready: ipledger.tar and nats.tar in $IMAGES"
