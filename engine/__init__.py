"""Deciding and committing: commands, `decide`, refusals, the commit loop, the service, its client.

`decide` and what it calls (`allocate`, `release`, `pools`, `pool_checks`, `commands`,
`refusals`) are pure: time and identity come in with the command. The commit loop, the service
and the client are the shell around it. How a request reached us (CNI, Kubernetes, the command
line) is not known here.
"""
