"""Metrics for Prometheus: the table of all names, what an engine counts, and the text of them.

What the log tells is counted from the log, and is the same at every replica; what a process did
is counted by the process (ADR 87). Nothing here is on the way of a command but some additions.
"""
