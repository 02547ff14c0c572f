"""The one table of metrics: every name, what it means, its unit and labels, and who has it.

All metrics are made from it, and docs/reference/metrics.md is written from it
(tests/unit/test_metrics_table.py holds them together). Every metric has the label `realm` besides.
"""

from __future__ import annotations

from ipledger.engine.metrics.metric import Kind, Role, Spec

LATENCIES_S = (
    *(0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01),
    *(0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0),
)
"""Bounds of latencies, from 100 microseconds to 10 seconds."""
_COUNTS = (1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 128.0, 256.0, 512.0, 1024.0)
_SIZES = (512.0, 1024.0, 4096.0, 16384.0, 65536.0, 262144.0, 1048576.0, 8388608.0)
_PASSES_S = (*LATENCIES_S, 30.0, 60.0, 300.0)

_C, _G, _H = Kind.COUNTER, Kind.GAUGE, Kind.HISTOGRAM
_ENGINE, _AGENT, _CONTROLLER = (Role.ENGINE,), (Role.AGENT,), (Role.CONTROLLER,)
_WEBHOOK, _AUDITOR, _ALL = (Role.WEBHOOK,), (Role.AUDITOR,), tuple(Role)
_CLIENTS = (Role.AGENT, Role.CONTROLLER, Role.WEBHOOK)
_WATCHERS = (Role.AGENT, Role.CONTROLLER)

# Of every process.

BUILD_INFO = Spec(
    "ipledger_build_info",
    _G,
    "1, for each role that the process runs.",
    "none",
    _ALL,
    ("role", "version"),
)
NATS_CONNECTED = Spec(
    "ipledger_nats_connected",
    _G,
    "Whether the process is connected to NATS.",
    "none",
    (Role.ENGINE, *_CLIENTS),
    ("connection",),
)
NATS_RECONNECTS = Spec(
    "ipledger_nats_reconnects_total",
    _C,
    "Connections to NATS that were lost and made again.",
    "connections",
    (Role.ENGINE, *_CLIENTS),
    ("connection",),
)

# What the log tells: the same at every engine that is at the same position.

POOL_ADDRESSES = Spec(
    "ipledger_pool_addresses",
    _G,
    "Addresses of a pool by state: free, allocated, held, reserved and free, quarantined.",
    "addresses",
    _ENGINE,
    ("pool", "ip_version", "state"),
)
POOL_GROWTH = Spec(
    "ipledger_pool_growth_addresses_per_second",
    _G,
    "How fast the used addresses of a pool grew lately, seasons ignored.",
    "addresses per second",
    _ENGINE,
    ("pool", "ip_version"),
)
POOL_EXHAUSTION = Spec(
    "ipledger_pool_exhaustion_seconds",
    _G,
    "Time until a pool is full if it goes on as lately, seasons ignored; +Inf if it does not grow.",
    "seconds",
    _ENGINE,
    ("pool", "ip_version"),
)
POOLS = Spec("ipledger_pools", _G, "Pools.", "pools", _ENGINE, ("ip_version",))
SUBNETS = Spec("ipledger_subnets", _G, "Subnets.", "subnets", _ENGINE, ("ip_version",))
SUBNET_POOLS = Spec(
    "ipledger_subnet_pools", _G, "Pools of a subnet.", "pools", _ENGINE, ("subnet", "ip_version")
)
SUBNET_ADDRESSES = Spec(
    "ipledger_subnet_addresses",
    _G,
    "Addresses of a subnet by state: free, or given to a pool.",
    "addresses",
    _ENGINE,
    ("subnet", "ip_version", "state"),
)
RESERVATIONS = Spec("ipledger_reservations", _G, "Reservations.", "reservations", _ENGINE)
APPLICATIONS = Spec(
    "ipledger_applications", _G, "Workloads with auto pools.", "applications", _ENGINE
)
LIVE_ALLOCATIONS = Spec(
    "ipledger_live_allocations",
    _G,
    "Allocations that live, those that are held among them.",
    "allocations",
    _ENGINE,
)
ALLOCATIONS = Spec(
    "ipledger_allocations_total",
    _C,
    "Allocations that the log has, imported ones among them, since its first commit.",
    "allocations",
    _ENGINE,
)
RELEASES = Spec(
    "ipledger_releases_total",
    _C,
    "Allocations of the log that ended.",
    "allocations",
    _ENGINE,
)
EVENTS = Spec("ipledger_events_total", _C, "Events of the log.", "events", _ENGINE)
COMMITS = Spec("ipledger_commits_total", _C, "Commits of the log.", "commits", _ENGINE)
EPOCH = Spec(
    "ipledger_epoch", _G, "Epoch of the log: how often leadership was taken.", "none", _ENGINE
)
LAST_COMMIT = Spec(
    "ipledger_last_commit_timestamp_seconds",
    _G,
    "Time of the newest commit, since the Unix epoch.",
    "seconds",
    _ENGINE,
)
CHECKPOINT = Spec(
    "ipledger_checkpoint_commits",
    _G,
    "Commits that the newest signed checkpoint is over; 0 if there is none.",
    "commits",
    _ENGINE,
)

# What an engine did.

ENGINE_ROLE = Spec(
    "ipledger_engine_role",
    _G,
    "1 for the role that the engine has now, else 0.",
    "none",
    _ENGINE,
    ("role",),
)
STEP_DURATION = Spec(
    "ipledger_engine_step_duration_seconds",
    _H,
    "Time of a request in each step: queue, decide, commit, answer. Their sum is its time here.",
    "seconds",
    _ENGINE,
    ("command", "step"),
    LATENCIES_S,
)
REQUESTS = Spec(
    "ipledger_engine_requests_total",
    _C,
    "Requests answered by a leader: done, refused, or to be tried again.",
    "requests",
    _ENGINE,
    ("command", "outcome"),
)
REFUSALS = Spec(
    "ipledger_engine_refusals_total",
    _C,
    "Commands refused, by reason; every retry counts.",
    "commands",
    _ENGINE,
    ("reason",),
)
ENGINE_EVENTS = Spec(
    "ipledger_engine_events_total",
    _C,
    "Events that this engine decided and that are durable.",
    "events",
    _ENGINE,
    ("type",),
)
COMMIT_DURATION = Spec(
    "ipledger_engine_commit_duration_seconds",
    _H,
    "Time from sending a commit to its acknowledgement.",
    "seconds",
    _ENGINE,
    (),
    LATENCIES_S,
)
COMMIT_EVENTS = Spec(
    "ipledger_engine_commit_events", _H, "Events of a commit.", "events", _ENGINE, (), _COUNTS
)
COMMIT_SIZE = Spec(
    "ipledger_engine_commit_size_bytes", _H, "Size of a commit.", "bytes", _ENGINE, (), _SIZES
)
QUEUE = Spec(
    "ipledger_engine_queue_length", _G, "Requests that wait to be decided.", "requests", _ENGINE
)
QUEUE_LIMIT = Spec(
    "ipledger_engine_queue_limit", _G, "Requests that may wait.", "requests", _ENGINE
)
QUEUE_REJECTIONS = Spec(
    "ipledger_engine_queue_rejections_total",
    _C,
    'Requests answered "try again" since the queue was full.',
    "requests",
    _ENGINE,
)
PROJECTION_LAG = Spec(
    "ipledger_engine_projection_lag_commits",
    _G,
    "Commits that the leader has told of and this engine has not folded yet.",
    "commits",
    _ENGINE,
)
SECOND_COPY = Spec(
    "ipledger_engine_second_copy_commits",
    _G,
    "Commits that this engine's own copy of the log has.",
    "commits",
    _ENGINE,
)
SECOND_COPY_LAG = Spec(
    "ipledger_engine_second_copy_lag_commits",
    _G,
    "Commits that this engine has folded and its own copy does not have yet.",
    "commits",
    _ENGINE,
)
SNAPSHOTS = Spec(
    "ipledger_engine_snapshots_total",
    _C,
    "Snapshots taken, by outcome: saved or failed.",
    "snapshots",
    _ENGINE,
    ("outcome",),
)
SNAPSHOT_COMMITS = Spec(
    "ipledger_engine_snapshot_commits",
    _G,
    "Commits that the newest snapshot of this engine is over, taken or loaded; 0 without any.",
    "commits",
    _ENGINE,
)

# Of the node agent.

CNI_REQUESTS = Spec(
    "ipledger_cni_requests_total",
    _C,
    "CNI calls answered, by command and CNI error code; 0 is success.",
    "calls",
    _AGENT,
    ("command", "code"),
)
CNI_DURATION = Spec(
    "ipledger_cni_request_duration_seconds",
    _H,
    "Time from a CNI call's arrival at the agent to its answer.",
    "seconds",
    _AGENT,
    ("command",),
    (*LATENCIES_S, 60.0),
)
PROBES = Spec(
    "ipledger_probes_total",
    _C,
    "Addresses probed before they were handed over: free, conflict, proxied, or failed to be.",
    "addresses",
    _AGENT,
    ("outcome",),
)
PROBE_DURATION = Spec(
    "ipledger_probe_duration_seconds",
    _H,
    "Time of a probe, which is of all addresses of an interface at once.",
    "seconds",
    _AGENT,
    (),
    LATENCIES_S,
)
OUTBOX = Spec(
    "ipledger_agent_outbox_releases",
    _G,
    "Releases that wait on this node for the engine.",
    "releases",
    _AGENT,
)
OUTBOX_SENT = Spec(
    "ipledger_agent_outbox_sent_total",
    _C,
    "Stored releases that were sent, by outcome: done or refused.",
    "releases",
    _AGENT,
    ("outcome",),
)

# Of whoever asks the engine.

CLIENT_REQUESTS = Spec(
    "ipledger_client_requests_total",
    _C,
    "Requests to the engine, by outcome: answered, or unavailable until the time was up.",
    "requests",
    _CLIENTS,
    ("client", "outcome"),
)
CLIENT_RETRIES = Spec(
    "ipledger_client_retries_total",
    _C,
    "Attempts after the first one of a request to the engine.",
    "attempts",
    _CLIENTS,
    ("client",),
)

# Of whoever watches the cluster.

WATCH_SYNCED = Spec(
    "ipledger_watch_synced",
    _G,
    "Whether everything was listed, and the watch goes on from there.",
    "none",
    _WATCHERS,
    ("watcher", "resource"),
)
WATCH_OBJECTS = Spec(
    "ipledger_watch_objects",
    _G,
    "Objects that a watch knows.",
    "objects",
    _WATCHERS,
    ("watcher", "resource"),
)
WATCH_LISTS = Spec(
    "ipledger_watch_lists_total",
    _C,
    "Whole lists that a watch read: the first, and one where it could not go on.",
    "lists",
    _WATCHERS,
    ("watcher", "resource"),
)
WATCH_RESTARTS = Spec(
    "ipledger_watch_restarts_total",
    _C,
    "Watches begun, by whichever end of the one before.",
    "watches",
    _WATCHERS,
    ("watcher", "resource"),
)
WATCH_FAILURES = Spec(
    "ipledger_watch_failures_total",
    _C,
    "Lists and watches that failed and were tried again.",
    "failures",
    _WATCHERS,
    ("watcher", "resource"),
)
WATCH_EVENTS = Spec(
    "ipledger_watch_events_total",
    _C,
    "Events of a watch.",
    "events",
    _WATCHERS,
    ("watcher", "resource"),
)
WATCH_HEARD = Spec(
    "ipledger_watch_last_event_timestamp_seconds",
    _G,
    "When the last list or event came, since the Unix epoch; 0 before the first.",
    "seconds",
    _WATCHERS,
    ("watcher", "resource"),
)

# Of the controller.

CONTROLLER_COMMITS = Spec(
    "ipledger_controller_folded_commits",
    _G,
    "Commits that the controller has folded; its lag is what an engine has more.",
    "commits",
    _CONTROLLER,
)
CONTROLLER_QUEUE = Spec(
    "ipledger_controller_queue_length", _G, "Objects that want work.", "objects", _CONTROLLER
)
CONTROLLER_WORK = Spec(
    "ipledger_controller_work_total",
    _C,
    "Objects that were worked on, by outcome: done, or failed and to be tried again.",
    "objects",
    _CONTROLLER,
    ("kind", "outcome"),
)
CONTROLLER_DURATION = Spec(
    "ipledger_controller_work_duration_seconds",
    _H,
    "Time that work on an object took.",
    "seconds",
    _CONTROLLER,
    ("kind",),
    LATENCIES_S,
)

# Of the collector, within the controller.

GC_FREED = Spec(
    "ipledger_gc_freed_total",
    _C,
    "Allocations that the collector freed, by the reason of the verdict.",
    "allocations",
    _CONTROLLER,
    ("reason",),
)
GC_SPARED = Spec(
    "ipledger_gc_spared_total",
    _C,
    "Allocations that a direct read saved from being freed, by what it told.",
    "allocations",
    _CONTROLLER,
    ("reason",),
)
GC_REFUSED = Spec(
    "ipledger_gc_refused_total",
    _C,
    "Releases that the engine refused, by its reason.",
    "releases",
    _CONTROLLER,
    ("reason",),
)
GC_WITHHELD = Spec(
    "ipledger_gc_withheld",
    _G,
    "Zombies that wait for a second look, at the last full comparison.",
    "allocations",
    _CONTROLLER,
)
GC_ALLOCATIONS = Spec(
    "ipledger_gc_allocations",
    _G,
    "Allocations at the last full comparison, by verdict and reason.",
    "allocations",
    _CONTROLLER,
    ("verdict", "reason"),
)
GC_API_FAILURES = Spec(
    "ipledger_gc_api_failures_total",
    _C,
    "Reads of the API server that failed; nothing is freed for want of them.",
    "reads",
    _CONTROLLER,
)
GC_APPLICATIONS_DELETED = Spec(
    "ipledger_gc_applications_deleted_total",
    _C,
    "Applications that the log knew and the cluster did not.",
    "applications",
    _CONTROLLER,
)
GC_COMPARISONS = Spec(
    "ipledger_gc_comparisons_total",
    _C,
    "Full comparisons, by how they ended: done, or why not.",
    "comparisons",
    _CONTROLLER,
    ("outcome",),
)
GC_COMPARED = Spec(
    "ipledger_gc_last_comparison_timestamp_seconds",
    _G,
    "When the last full comparison was done, since the Unix epoch; 0 before the first.",
    "seconds",
    _CONTROLLER,
)
GC_COMPARISON_DURATION = Spec(
    "ipledger_gc_comparison_duration_seconds",
    _H,
    "Time of a full comparison.",
    "seconds",
    _CONTROLLER,
    (),
    _PASSES_S,
)

# Of the webhook.

WEBHOOK_REVIEWS = Spec(
    "ipledger_webhook_reviews_total",
    _C,
    "Reviews answered, by verdict: allowed, unchecked, denied, or bad where it was none.",
    "reviews",
    _WEBHOOK,
    ("verdict",),
)
WEBHOOK_DURATION = Spec(
    "ipledger_webhook_review_duration_seconds",
    _H,
    "Time of a review.",
    "seconds",
    _WEBHOOK,
    (),
    LATENCIES_S,
)

# Of the auditor.

HISTORY_SEQUENCE = Spec(
    "ipledger_history_sequence",
    _G,
    "Sequence of the newest commit that the history has.",
    "commits",
    _AUDITOR,
)
HISTORY_LAG = Spec(
    "ipledger_history_lag_commits",
    _G,
    "Commits of the log that the history does not have yet.",
    "commits",
    _AUDITOR,
)
HISTORY_LAG_SECONDS = Spec(
    "ipledger_history_lag_seconds",
    _G,
    "Time from the newest commit to its being in the history.",
    "seconds",
    _AUDITOR,
)

TABLE: tuple[Spec, ...] = tuple(
    value for value in list(globals().values()) if isinstance(value, Spec)
)
"""All of them, in the order of this file."""
