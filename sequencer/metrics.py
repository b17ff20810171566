"""What an operator watches, in Prometheus' text format at /metrics. One registry a process."""

from __future__ import annotations

from prometheus_client import Counter, Gauge, Histogram

QUEUE_DEPTH = Gauge("pouw_queue_depth", "Tasks that wait for a worker")
LEASES = Gauge("pouw_leases", "Leases that run")
REVEALED = Gauge("pouw_revealed", "Results that wait for verdicts")
EPOCH = Gauge("pouw_epoch", "The last epoch that was cut")
POSTED_EPOCH = Gauge("pouw_posted_epoch", "The last epoch that L1 has at confirmed")
FINALIZED_EPOCH = Gauge("pouw_finalized_epoch", "The last epoch that is final on L1")
READ_ONLY = Gauge("pouw_read_only", "1 while the disk refuses writes and nothing is acknowledged")
L1_SLOT = Gauge("pouw_l1_slot", "L1's slot at confirmed")
BATCH_RECORDS = Histogram("pouw_batch_records", "Records in an epoch", buckets=(1, 4, 16, 64, 256, 1024, 4096))
POST_SECONDS = Histogram(
    "pouw_post_seconds", "From the cut of an epoch to its confirmed post", buckets=(1, 2, 4, 8, 16, 32, 64, 128)
)
TASKS_SUBMITTED = Counter("pouw_tasks_submitted", "Tasks acknowledged")
TASKS_PAID = Counter("pouw_tasks_paid", "Results accepted")
TASKS_REJECTED = Counter("pouw_tasks_rejected", "Results rejected")
TASKS_REFUNDED = Counter("pouw_tasks_refunded", "Fees given back after a deadline")
ATTEMPTS_GIVEN_UP = Counter("pouw_attempts_given_up", "Attempts of an epoch that could no longer land")
EPOCHS_REJECTED = Counter("pouw_epochs_rejected", "Epochs that L1 rejected")
FORKS = Counter("pouw_forks", "Confirmed posts or deposits that L1 took back")
POSTS_UNLANDED = Gauge("pouw_posts_unlanded", "Post transactions in a row that did not land")
POST_PRICE = Gauge("pouw_post_price_micro_lamports", "What a compute unit of the last post was offered for")
ALARMS = Gauge("pouw_alarm", "1 while a person should look", ["name"])
OPEN_DEMANDS = Gauge("pouw_open_demands", "Demands on posted epochs that nobody has answered yet")
DEMANDS_ANSWERED = Counter("pouw_demands_answered", "Demands answered by this node")
L1_NODE_TROUBLE = Gauge(
    "pouw_l1_node_trouble", "1 while one of several L1 nodes contradicts the others or is silent", ["url"]
)
FAILURES = Counter("pouw_failures", "Failures by the loop in which they happened", ["loop"])
RPC_CALLS = Counter("pouw_rpc_calls", "JSON-RPC calls by method and outcome", ["method", "outcome"])
BLOB_BYTES = Counter("pouw_blob_bytes", "Bytes of blobs taken")
BLOBS_REMOVED = Counter("pouw_blobs_removed", "Blobs removed because nothing needed them")
CONNECTIONS = Gauge("pouw_connections", "Open HTTP connections")
REFUSED_CONNECTIONS = Counter("pouw_refused_connections", "Connections refused, by HTTP status", ["status"])
