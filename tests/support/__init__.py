"""Helpers of the tests: builders, given/when/then, an independent model, faults to inject."""
