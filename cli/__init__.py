"""The `ipledger` command: argument parsing, printing, and putting the roles together.

No rule lives here: a command asks the library and prints what it answers.
"""
