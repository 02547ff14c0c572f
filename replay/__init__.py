"""The auditor's and SRE's tools: reading the log, checking that it is whole, and the past.

Of a log everything here only reads, but `restore`; a history is a file of its own. What an event
means belongs in `projections`.
"""
