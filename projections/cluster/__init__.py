"""The cluster as a projection: what an API server tells of it, folded from lists and watches.

Here belong the shapes of Kubernetes objects, with only the fields that are needed, and the fold of
what a watch says. Pure, like the rest of `projections`. Talking to an API server belongs in
`live`, which nothing pure may import (ADR 40).
"""
