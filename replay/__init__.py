"""The auditor's and SRE's tools: reading the log, checking that it is whole, restoring it.

Everything here only reads, but for a restore that was asked for. What an event means belongs in
`projections`.
"""
