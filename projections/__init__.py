"""What the log means now: the state of pools and allocations, folded from commits.

Here belong `evolve` and the structures it changes, the fold that checks the chain, and the rows
that queries and histories are made of. Pure: no clock, no randomness, no I/O. Whether something may
happen is decided in `engine`, never here: history is not judged again.
"""
