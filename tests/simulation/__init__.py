"""The simulator: whole realms in one thread, on a clock, a net and a log drawn from one seed.

Everything of ours that runs is real: engines, agents, client, outbox, the log's JetStream adapter.
Simulated is only what they stand on (`loop`, `net`, `stream`, `process`), who uses them (`kubelet`,
`operator`), and what goes wrong (`faults`). `oracles` says what must hold; docs/simulator.md says
how to run it.
"""
