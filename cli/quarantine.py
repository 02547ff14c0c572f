"""`ipledger quarantine` and `ipledger restore-address`: what an operator says of an address."""

from __future__ import annotations

from ipledger.cli.connection import DEFAULT, Connection, engine_client
from ipledger.cli.output import emit


async def quarantine(
    address: str,
    /,
    *,
    mac: str = "",
    reason: str = "",
    connection: Connection = DEFAULT,
) -> None:
    """Give an address of a pool to nobody until it is restored. Who holds it keeps it.

    Parameters
    ----------
    address
        The address, without a prefix length.
    mac
        The MAC address that answers to it, in lower case with colons.
    reason
        Why, for the record: it is stored in the event.
    """
    from ipledger.engine.commands import QuarantineAddress

    command = QuarantineAddress(address=address, mac=mac, evidence=reason)
    async with engine_client(connection) as client:
        answer = await client.quarantine(command)
    emit(f"address/{address} {answer.outcome}")


async def restore_address(
    address: str,
    /,
    *,
    reason: str = "",
    connection: Connection = DEFAULT,
) -> None:
    """Let an address that was quarantined be given out again.

    Parameters
    ----------
    address
        The address, as `ipledger get quarantines` shows it.
    reason
        Why, for the record: it is stored in the event.
    """
    from ipledger.engine.commands import RestoreAddress

    async with engine_client(connection) as client:
        answer = await client.restore_address(RestoreAddress(address=address, evidence=reason))
    emit(f"address/{address} {answer.outcome}")
