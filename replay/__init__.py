"""The auditor's and SRE's tools: reading the log as it is, and checking that it is whole.

Everything here only reads. What an event means belongs in `projections`.
"""
