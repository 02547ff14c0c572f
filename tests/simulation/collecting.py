"""The collector's machine: the real collector, on the simulated bus and API server."""

from __future__ import annotations

from dataclasses import dataclass, field
from random import Random

from ipledger.gc.collector import Collector
from ipledger.gc.report import Outcome, Report
from ipledger.gc.settings import Settings
from ipledger.gc.view import View
from simulation.apiserver import ApiServer, SimulatedApi
from simulation.machines import Machine
from simulation.process import Process
from simulation.witness import Witness, WitnessedClient
from simulation.world import REALM


@dataclass(eq=False)
class CollectorMachine(Machine):
    """A collector. Nothing of it outlives its process."""

    ahead_max_s: float = 0.0
    witness: Witness = field(kw_only=True)
    server: ApiServer = field(kw_only=True)
    settings: Settings = field(kw_only=True)

    def begin(self, process: Process, random: Random) -> None:
        """See `Machine`."""
        client = WitnessedClient(process.connection, REALM, timeout_s=5.0, random=random)
        client.witness = self.witness
        view = View.of(SimulatedApi(self.server), self.settings.interval_s, random.random)
        collector = Collector(client, view, self.settings, process.clock, self._on_report)
        process.spawn(collector.run())

    def _on_report(self, report: Report) -> None:
        for finding in report.findings:
            if finding.outcome is not Outcome.LATER:
                self.world.counts[f"gc {finding.outcome}"] += 1
                text = f"{finding.allocation} of {finding.pod} {finding.uid}: {finding.reason}"
                self.world.note(f"{self.name}: {finding.outcome}: {text} {finding.detail}")
        for told in (report.withheld, report.failure):
            if told:
                self.world.note(f"{self.name}: {told}")
