"""An API server that serves lists from pages made before: its own cost is not measured."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from aiohttp import web

PAGE = 500
"""Objects of a page."""


def pages(objects: Sequence[dict[str, Any]]) -> list[bytes]:
    """A list's answers."""
    starts = range(0, len(objects), PAGE) or range(1)
    found: list[bytes] = []
    for number, start in enumerate(starts, 1):
        more = {"continue": str(number)} if number < len(starts) else {}
        metadata = {"resourceVersion": "1000000", **more}
        body = {"metadata": metadata, "items": objects[start : start + PAGE]}
        found.append(json.dumps(body).encode())
    return found


def page_of(found: list[bytes], request: web.Request) -> web.Response:
    """The page that a request asks for."""
    page = int(request.query.get("continue", "0"))
    return web.Response(body=found[page], content_type="application/json")


def not_found(request: web.Request) -> web.Response:
    """What an API server says of what it has not."""
    details = {"name": request.path.rpartition("/")[2]}
    status = {"code": 404, "reason": "NotFound", "message": "not found", "details": details}
    return web.json_response(status, status=404)


async def serve(app: web.Application, path: Path) -> None:
    """Listen on loopback, and write a kubeconfig."""
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    write_kubeconfig(path, runner.addresses[0][1])


def write_kubeconfig(path: Path, port: int) -> None:
    """The configuration of whoever asks a server on loopback."""
    config = {
        "current-context": "c",
        "contexts": [{"name": "c", "context": {"cluster": "c", "user": "u"}}],
        "clusters": [{"name": "c", "cluster": {"server": f"http://127.0.0.1:{port}"}}],
        "users": [{"name": "u", "user": {"token": "t"}}],
    }
    path.write_text(json.dumps(config))
