"""`ipledger demo`: a tour in a temporary directory, with real commands and their real output."""

from __future__ import annotations


def demo() -> int:
    """A two-minute tour in a temporary directory.

    Starts everything on free ports, gives addresses to pods (through the real bridge plugin and
    network namespaces where that is possible), kills everything, shows that nothing was lost,
    and verifies the log. Nothing is left behind.
    """
    from ipledger.cli.tour import Tour

    return Tour.take()
