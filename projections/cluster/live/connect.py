"""Reaching an API server: by a kubeconfig file, or from inside the cluster."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import AsyncGenerator
from pathlib import Path
from typing import Any

from ipledger.projections.cluster.live import library
from ipledger.projections.cluster.live.api import Api

_log = logging.getLogger(__name__)

_REFRESH_AGAIN_S = 60.0


class KubeconfigError(Exception):
    """The configuration cannot be used; the text names the file and what is wrong."""


@contextlib.asynccontextmanager
async def connected(kubeconfig: Path | None) -> AsyncGenerator[Api]:
    """An `Api` as a kubeconfig says, or that of the service account of the pod this runs in.

    Nothing is asked of the server yet. Raises `KubeconfigError`.
    """
    client = library.client()
    configuration = client.Configuration()
    loader = await _configure(configuration, kubeconfig)
    refreshing = asyncio.create_task(_keep_fresh(loader, configuration)) if loader else None
    try:
        api = Api(client.ApiClient(configuration))
    except (OSError, ValueError) as error:
        raise KubeconfigError(f"{kubeconfig or 'in-cluster configuration'}: {error}") from error
    try:
        yield api
    finally:
        if refreshing is not None:
            refreshing.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await refreshing
        await api.close()


async def _configure(configuration: Any, kubeconfig: Path | None) -> Any:
    """Fill the configuration; of a kubeconfig, its loader."""
    config = library.config()
    where = f"kubeconfig {kubeconfig}" if kubeconfig else "in-cluster configuration"
    try:
        if kubeconfig is None:
            config.load_incluster_config(client_configuration=configuration)
            return None
        _check_readable(kubeconfig)
        return await config.load_kube_config(
            str(kubeconfig), client_configuration=configuration, persist_config=False
        )
    except (config.ConfigException, OSError) as error:
        raise KubeconfigError(f"{where}: {error}") from error
    except Exception as error:  # the library checks little: what is missing is an AssertionError
        raise KubeconfigError(f"{where}: {error!r}") from error


def _check_readable(path: Path) -> None:
    """The library says of a file that is missing that it is empty."""
    path.open("rb").close()


async def _keep_fresh(loader: Any, configuration: Any) -> None:
    """Tokens of an exec plugin or a cloud expire. A service account's are read again anyway."""
    config = library.config()
    while True:
        try:
            await config.refresh_token(loader, configuration)
            return  # a kind of authentication that does not expire
        except Exception:
            _log.exception("the API server's token could not be refreshed")
        await asyncio.sleep(_REFRESH_AGAIN_S)
