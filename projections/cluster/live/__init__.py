"""An API server as it is reached: connecting, calls, and the watch that feeds a mirror.

A shell around the pure shapes and fold of `projections.cluster`. Agent, controller and collector
lie above it; `engine` may not import it (ADR 40).
"""
