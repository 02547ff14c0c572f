"""The one image of the tests' pods: it waits for its end, or ends after so many seconds."""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import os
import subprocess
import tarfile
from pathlib import Path
from typing import Any

NAME = "local.test/pause:1"

_ARCHITECTURES = {"x86_64": "amd64", "aarch64": "arm64"}

_SOURCE = """
#include <signal.h>
#include <stdlib.h>
#include <unistd.h>

static void end(int signal) { (void)signal; _exit(0); }

int main(int count, char **words) {
    signal(SIGTERM, end);
    signal(SIGINT, end);
    signal(SIGALRM, end);
    if (count > 1) alarm(atoi(words[1]));
    for (;;) pause();
}
"""


def build(folder: Path) -> Path:
    """Compile the program and write its OCI image archive into `folder`."""
    program = folder / "pause"
    command = ["musl-gcc", "-Os", "-static", "-s", "-o", str(program), "-x", "c", "-"]
    subprocess.run(command, input=_SOURCE.encode(), check=True)
    archive = folder / "pause.tar"
    with tarfile.open(archive, "w") as tar:
        for path, content in _files(program.read_bytes()).items():
            _add(tar, path, content, 0o644)
    return archive


def _files(program: bytes) -> dict[str, bytes]:
    plain = io.BytesIO()
    with tarfile.open(fileobj=plain, mode="w") as tar:
        _add(tar, "pause", program, 0o755)
    layer = gzip.compress(plain.getvalue(), mtime=0)
    config = _json(
        architecture=_ARCHITECTURES[os.uname().machine],
        os="linux",
        config={"Entrypoint": ["/pause"]},
        rootfs={"type": "layers", "diff_ids": [_digest(plain.getvalue())]},
    )
    kind = "application/vnd.oci.image"
    manifest = _json(
        schemaVersion=2,
        config=_descriptor(config, f"{kind}.config.v1+json"),
        layers=[_descriptor(layer, f"{kind}.layer.v1.tar+gzip")],
    )
    entry = _descriptor(manifest, f"{kind}.manifest.v1+json")
    entry["annotations"] = {"io.containerd.image.name": NAME}
    files = {"oci-layout": _json(imageLayoutVersion="1.0.0")}
    files["index.json"] = _json(schemaVersion=2, manifests=[entry])
    for blob in (layer, config, manifest):
        files[f"blobs/sha256/{_digest(blob).partition(':')[2]}"] = blob
    return files


def _descriptor(blob: bytes, media_type: str) -> dict[str, Any]:
    return {"mediaType": media_type, "digest": _digest(blob), "size": len(blob)}


def _digest(blob: bytes) -> str:
    return f"sha256:{hashlib.sha256(blob).hexdigest()}"


def _json(**fields: Any) -> bytes:
    return json.dumps(fields).encode()


def _add(tar: tarfile.TarFile, path: str, content: bytes, mode: int) -> None:
    info = tarfile.TarInfo(path)
    info.size = len(content)
    info.mode = mode
    tar.addfile(info, io.BytesIO(content))
