"""`python -m ipledger.cli` is `ipledger`."""

from ipledger.cli.app import main

main()
