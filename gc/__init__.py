"""Finding zombies, allocations that no pod uses any more, and releasing them (DESIGN section 9).

`judge` is the rule: pure, one table. `collector` is the shell around it: it looks at the cluster
and the log, asks the API server again before anything is freed, and releases on condition.
"""
