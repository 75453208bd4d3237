"""What nodes take of their machines: disk, processor, memory; and how their API answers. Pure."""

from p2pledger.monitoring.dashboards.model import Colour, Dashboard, Kind, Panel, Row, Target, Threshold, Unit
from p2pledger.monitoring.dashboards.queries import (
    at_nodes,
    growth,
    named,
    of_process,
    on_chain,
    quantile,
    rate,
    ratio,
    total,
)

DAY_S = 86_400
FAILED = at_nodes("api_request_seconds_count", 'status=~"5.."')

DISK = Row(
    "Disk",
    (
        Panel(
            "Database size",
            "The chain's database, and its log of what was written last.",
            Unit.BYTES,
            (
                Target(
                    total(at_nodes("store_size_bytes", named("file")), "instance", "file"),
                    "{{instance}} {{file}}",
                ),
            ),
        ),
        Panel(
            "Free on the volume",
            "Where the chain lies. A full disk ends the node; a gateway keeps less with"
            " `bodies_kept_blocks`.",
            Unit.BYTES,
            (Target(at_nodes("store_free_bytes"), "{{instance}}"),),
        ),
        Panel(
            "Free in a day, as of the last six hours",
            "What will be free if it goes on like that. Below 0 the volume is full by then.",
            Unit.BYTES,
            (Target(f"predict_linear({at_nodes('store_free_bytes')}[6h], {DAY_S})", "{{instance}}"),),
            below=Colour.BAD,
            thresholds=(Threshold(0, Colour.GOOD),),
            minimum=None,
        ),
        Panel(
            "Commit p99",
            "Making one final block durable. A disk that takes half a second to sync is failing or shared.",
            Unit.SECONDS,
            (Target(quantile(0.99, at_nodes("store_commit_seconds_bucket"), "instance"), "{{instance}}"),),
            thresholds=(Threshold(0.5, Colour.DOUBTFUL),),
        ),
        Panel(
            "Pruned height",
            "Up to which block a gateway has dropped the bodies of others; 0 where all are kept.",
            Unit.COUNT,
            (Target(at_nodes("store_pruned_height"), "{{instance}}"),),
        ),
    ),
)

PROCESS = Row(
    "Processor and memory",
    (
        Panel(
            "Processor",
            "Of one core. A node runs on one, and a second one for signatures and the disk.",
            Unit.SHARE,
            (Target(rate(of_process("process_cpu_seconds_total")), "{{instance}}"),),
        ),
        Panel(
            "Processor by stage",
            "Of one core, over all nodes shown: what is counted of each transaction's way. With `by_task`"
            " in a node's configuration libp2p, HTTP and the event loop are told apart too.",
            Unit.SHARE,
            (
                Target(
                    total(rate(at_nodes("stage_cpu_seconds_total", named("stage"))), "stage"),
                    "{{stage}}",
                ),
            ),
            is_stacked=True,
        ),
        Panel(
            "Event-loop lag p99",
            "How late the event loop wakes a timer. Beyond a quarter of a second votes come late.",
            Unit.SECONDS,
            (Target(quantile(0.99, at_nodes("event_loop_lag_seconds_bucket"), "instance"), "{{instance}}"),),
            thresholds=(Threshold(0.25, Colour.DOUBTFUL),),
        ),
        Panel(
            "Signatures p95",
            "Verifying one batch of signatures, in a thread.",
            Unit.SECONDS,
            (
                Target(
                    quantile(0.95, at_nodes("signature_verify_seconds_bucket"), "instance"), "{{instance}}"
                ),
            ),
        ),
        Panel(
            "Resident memory",
            "It grows with the state and with what waits, and not with the chain.",
            Unit.BYTES,
            (Target(of_process("process_resident_memory_bytes"), "{{instance}}"),),
        ),
        Panel(
            "Open files",
            "Of those that a process may open: connections, mostly.",
            Unit.SHARE,
            (
                Target(
                    ratio(of_process("process_open_fds"), of_process("process_max_fds")),
                    "{{instance}}",
                ),
            ),
            thresholds=(Threshold(0.8, Colour.BAD),),
            maximum=1,
        ),
        Panel(
            "Garbage collections",
            "A second, over all nodes shown. A full one (generation 2) stops a node for some milliseconds.",
            Unit.PER_SECOND,
            (
                Target(
                    total(rate(of_process("python_gc_collections_total")), "generation"),
                    "generation {{generation}}",
                ),
            ),
        ),
        Panel(
            "Time since start",
            "Of each process.",
            Unit.SECONDS,
            (Target(f"time() - {of_process('process_start_time_seconds')}", "{{instance}}"),),
        ),
        Panel(
            "Versions",
            "How many nodes run which. More than one only while an upgrade is under way.",
            Unit.COUNT,
            (Target(f"count by (version) ({on_chain('build_info')})", "{{version}}"),),
            Kind.BARS,
        ),
    ),
)

SERVICE = Row(
    "API and logs",
    (
        Panel(
            "Requests by status",
            "A second, over all nodes shown.",
            Unit.PER_SECOND,
            (Target(total(rate(at_nodes("api_request_seconds_count")), "status"), "{{status}}"),),
            is_stacked=True,
        ),
        Panel(
            "Request p95 by route",
            "From a request's head until its answer is sent. Waiting for events is part of some routes'"
            " work.",
            Unit.SECONDS,
            (Target(quantile(0.95, at_nodes("api_request_seconds_bucket"), "route"), "{{route}}"),),
        ),
        Panel(
            "Server errors",
            "Answers 500 and 503, a second. 503: the node is not ready, or has too much to do.",
            Unit.PER_SECOND,
            (
                Target(
                    total(rate(FAILED)) + " or vector(0)",
                    "errors",
                ),
            ),
        ),
        Panel(
            "Subscribers",
            "Clients that are told of news, by what for.",
            Unit.COUNT,
            (Target(total(at_nodes("api_subscribers", named("kind")), "kind"), "{{kind}}"),),
        ),
        Panel(
            "Log lines by level",
            "A second, over all nodes shown. Errors and worse are few: read them.",
            Unit.PER_SECOND,
            (Target(total(rate(at_nodes("log_messages_total", named("level"))), "level"), "{{level}}"),),
        ),
        Panel(
            "Log lines left out",
            "In the last hour: lines of an event that came too often. What it was is in the lines before.",
            Unit.COUNT,
            (Target(growth(at_nodes("log_suppressed_total")), "{{instance}}"),),
        ),
    ),
)

STORAGE = Dashboard(
    "p2pledger-storage",
    "p2pledger / Storage and process",
    "What nodes take of their machines, and how their API answers.",
    (DISK, PROCESS, SERVICE),
)
