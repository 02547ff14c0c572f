"""Hostile input: one list of targets (`fuzz.targets`), fed by hypothesis or by atheris.

A target takes bytes as they come in at one edge of ipledger, and fails (raises) if they do
anything there but be served or be refused by that edge's one typed error. `test_fuzz.py` gives
each a few hundred examples in every run; `make fuzz MINUTES=n` goes on for as long as is wanted.
docs/how-to/fuzz.md says how.
"""
