"""Calls to an API server: JSON bytes out and in, errors as the two kinds there are.

`kubernetes-asyncio` has the transport: TLS, authentication, proxies. Its models are not used:
reading them costs about 75 times as much (`bench/cluster.py`).
"""

from __future__ import annotations

import contextlib
from collections.abc import AsyncGenerator, AsyncIterator, Generator, Mapping
from typing import Any, TypeVar

import aiohttp
import msgspec

from ipledger.projections.cluster.kinds import Kind, O
from ipledger.projections.cluster.metadata import Key, is_name

MERGE_PATCH = "application/merge-patch+json"
JSON_PATCH = "application/json-patch+json"
JSON = "application/json"

_CALL_TIMEOUT_S = 60.0
_CONNECT_TIMEOUT_S = 10.0
_AUTH = ["BearerToken"]

T = TypeVar("T")

Query = Mapping[str, str]


class ApiUnreachableError(Exception):
    """No whole answer came: the server is away, or the connection broke or fell silent."""


class ApiSilentError(ApiUnreachableError):
    """Nothing came for as long as was allowed."""


class ApiUnreadableError(ApiUnreachableError):
    """A whole answer came, and is not what was asked for."""


class ApiError(Exception):
    """The server answered, with an error.

    `status` is that of HTTP, `reason` Kubernetes' word, `name` the object's that it is about.
    """

    def __init__(
        self, status: int, reason: str, message: str, retry_after_s: float = 0, name: str = ""
    ) -> None:
        super().__init__(f"{status} {reason}: {message}" if reason else f"{status}: {message}")
        self.status = status
        self.reason = reason
        self.retry_after_s = retry_after_s
        self.name = name

    @property
    def is_expired(self) -> bool:
        """Whether the version or the token that was asked for is too old."""
        return self.status == 410

    def says_there_is_no(self, name: str) -> bool:
        """Whether an API server says that it has no object of that name.

        A proxy's 404 has another reason or none, or is about another thing: about the cluster.
        """
        return self.reason == "NotFound" and self.name == name


class _Details(msgspec.Struct, rename="camel"):
    name: str = ""
    retry_after_seconds: float = 0


class Status(msgspec.Struct):
    """A Kubernetes `Status`: how an error is told, in an answer or in a watch."""

    code: int = 0
    reason: str = ""
    message: str = ""
    details: _Details | None = None

    def error(self, status: int = 0) -> ApiError:
        """The error that it tells."""
        details = self.details or _Details()
        return ApiError(
            self.code or status,
            self.reason,
            self.message,
            details.retry_after_seconds,
            details.name,
        )


_decode_status = msgspec.json.Decoder(Status).decode


class Api:
    """A connection to an API server. `client` is an `ApiClient` of kubernetes-asyncio."""

    def __init__(self, client: Any) -> None:
        self._client = client

    async def close(self) -> None:
        """Close all connections."""
        await self._client.close()

    async def call(
        self,
        method: str,
        path: str,
        body: object = None,
        *,
        query: Query | None = None,
        content_type: str = JSON,
        timeout_s: float = _CALL_TIMEOUT_S,
    ) -> bytes:
        """One call with its whole answer. Raises `ApiError` or `ApiUnreachableError`."""
        limits = aiohttp.ClientTimeout(total=timeout_s, sock_connect=_CONNECT_TIMEOUT_S)
        async with self._answered(method, path, body, query, content_type, limits) as response:
            return await response.read()

    async def get(
        self,
        kind: Kind[O],
        name: str,
        namespace: str = "",
        *,
        timeout_s: float = _CALL_TIMEOUT_S,
    ) -> O:
        """One object. Raises `ApiError` (404 if it is not there) or `ApiUnreachableError`.

        Names come from references that anybody can write, and go into a path: what cannot be a
        name is not there. An answer that is another object, or none, is `ApiUnreadableError`.
        """
        namespace = namespace if kind.is_namespaced else ""
        if not is_name(name) or (namespace and not is_name(namespace)):
            message = f"{namespace}/{name!r} cannot be a name of Kubernetes"
            raise ApiError(404, "NotFound", message, name=name)
        path = kind.path(namespace, name)
        found = decode(
            msgspec.json.Decoder(kind.shape), await self.call("GET", path, timeout_s=timeout_s)
        )
        if found.key != Key(namespace, name):
            raise ApiUnreadableError(f"GET {path}: the answer is {str(found.key)!r}")
        return found

    @contextlib.asynccontextmanager
    async def stream(
        self, path: str, query: Query, silence_s: float
    ) -> AsyncGenerator[AsyncIterator[bytes]]:
        """The lines of an answer that does not end.

        Raises `ApiError` or `ApiUnreachableError`, also while lines are read, and
        `ApiSilentError` after `silence_s` without anything.
        """
        limits = aiohttp.ClientTimeout(
            total=None, sock_connect=_CONNECT_TIMEOUT_S, sock_read=silence_s
        )
        async with (
            self._answered("GET", path, None, query, JSON, limits) as response,
            contextlib.aclosing(_lines(response.content)) as lines,
        ):
            yield lines

    @contextlib.asynccontextmanager
    async def _answered(
        self,
        method: str,
        path: str,
        body: object,
        query: Query | None,
        content_type: str,
        limits: aiohttp.ClientTimeout,
    ) -> AsyncGenerator[aiohttp.ClientResponse]:
        headers = {"Accept": JSON, "Content-Type": content_type}
        parameters = list((query or {}).items())
        with _unreachable(f"{method} {path}"):
            await self._client.update_params_for_auth(headers, parameters, _AUTH)
            response = await self._client.rest_client.request(
                method,
                self._client.configuration.host + path,
                query_params=parameters,
                headers=headers,
                body=body,
                _preload_content=False,
                _request_timeout=limits,
            )
            async with response:
                if response.status >= 400:
                    raise _error(response, await response.read())
                yield response


@contextlib.contextmanager
def _unreachable(what: str) -> Generator[None]:
    try:
        yield
    except aiohttp.SocketTimeoutError as error:
        raise ApiSilentError(f"{what}: {error}") from error
    except (aiohttp.ClientError, TimeoutError, OSError) as error:
        told = str(error) or type(error).__name__
        raise ApiUnreachableError(f"{what}: {told}") from error


def _error(response: aiohttp.ClientResponse, body: bytes) -> ApiError:
    try:
        error = _decode_status(body).error(response.status)
    except msgspec.DecodeError:  # a proxy's page
        error = ApiError(response.status, "", body[:200].decode(errors="replace").strip())
    after = response.headers.get("Retry-After", "")
    if after.isdecimal():
        error.retry_after_s = float(after)
    return error


async def _lines(content: aiohttp.StreamReader) -> AsyncGenerator[bytes]:
    """The lines of a stream, however long: an object may be larger than a reader's buffer."""
    begun: list[bytes] = []
    async for chunk in content.iter_any():
        *whole, rest = chunk.split(b"\n")
        for line in whole:
            yield b"".join((*begun, line))
            begun.clear()
        if rest:
            begun.append(rest)


def decode(decoder: msgspec.json.Decoder[T], answer: bytes | msgspec.Raw) -> T:
    """An answer as what it should be. Raises `ApiUnreadableError` if it is something else."""
    try:
        return decoder.decode(answer)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise ApiUnreadableError(f"an answer that cannot be read: {error}") from error
