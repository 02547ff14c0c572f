"""Deciding and committing: commands, `decide`, refusals, the commit loop, the service, its client.

`decide` and what it calls are pure: time and identity come in with the command. An ADD goes
through `allocate`, `selection` (which pools are candidates), `auto_selection` (or which pool is
made for the pod's application), `filters` (which of them may serve), `choice` (which address) and
`routes`; each kind of resource has a module of its own. The commit loop, the service and the
client are the shell around it. How a request reached us (CNI, Kubernetes, the command line) is
not known here.
"""
