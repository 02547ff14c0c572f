"""ipledger: an event-sourced, asynchronous IP address allocation engine for Kubernetes.

The folders at the root of the repository are the subpackages; see ARCHITECTURE.md.
"""

__version__ = "0.1.0"
