"""The CNI path: the shim (a small C program), the node agent behind a unix socket, installation.

Here belongs what the CNI specification says: verbs, versions, results, error codes, and what a
rough runtime does. What an ADD means for pools belongs in `engine`.
"""
