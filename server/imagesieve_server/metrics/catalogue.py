"""Every series the server exports: name, type, labels, help and buckets, as one table.

The names are part of the product: dashboards and alerts depend on them. It knows nothing of
when a series moves (``recorder.py``). Every label has a bounded set of values: codes, states
and ids from loaded policies, never anything a caller wrote.
"""

from __future__ import annotations

from imagesieve_server.core.errors import UndecodableDetail
from imagesieve_server.core.review import OPEN
from imagesieve_server.metrics.process_series import PROCESS_RESTARTS as PROCESS_RESTARTS
from imagesieve_server.metrics.series import Kind as Kind
from imagesieve_server.metrics.series import Series as Series
from imagesieve_server.metrics.series import counter, gauge, histogram
from imagesieve_server.metrics.webhook_series import WEBHOOK_ATTEMPTS as WEBHOOK_ATTEMPTS
from imagesieve_server.metrics.webhook_series import WEBHOOK_DEAD as WEBHOOK_DEAD
from imagesieve_server.metrics.webhook_series import WEBHOOK_OLDEST_AGE as WEBHOOK_OLDEST_AGE
from imagesieve_server.metrics.webhook_series import WEBHOOK_RETRYING as WEBHOOK_RETRYING

_CALL_SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)
_STAGE_SECONDS = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0)
_ROWS = (1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 128.0, 256.0)
_VIEWS = (1.0, 2.0, 4.0, 8.0, 16.0, 32.0)
_LOG_ODDS = (-20.0, -10.0, -5.0, -3.0, -2.0, -1.0, 0.0, 1.0, 2.0, 3.0, 5.0, 10.0, 20.0)

_METHOD = ("grpc_type", "grpc_service", "grpc_method")

RPC_STARTED = counter("grpc_server_started_total", "Calls begun.", *_METHOD)
RPC_HANDLED = counter(
    "grpc_server_handled_total", "Calls ended, by status code.", *_METHOD, "grpc_code"
)
RPC_SECONDS = histogram(
    "grpc_server_handling_seconds",
    "Seconds from a call's begin to its end.",
    _CALL_SECONDS,
    *_METHOD,
)
RPC_IN_FLIGHT = gauge(
    "imagesieve_rpcs_in_flight", "Calls being handled.", "grpc_service", "grpc_method"
)
CALLS_REFUSED = counter(
    "imagesieve_calls_refused_total",
    "Calls not let in: why the caller was not believed, or PERMISSION_DENIED.",
    "reason",
)
FILE_RELOADS = counter(
    "imagesieve_file_reloads_total",
    "Readings of certificates (tls, console_tls), of callers, accounts and webhooks' endpoints.",
    "file",
    "result",
)
FILE_RELOAD_OK = gauge(
    "imagesieve_file_last_reload_successful",
    "1 where the last reading had no problem; else what was there before is in force.",
    "file",
)
FILE_RELOADED_AT = gauge(
    "imagesieve_file_last_reload_success_timestamp_seconds",
    "Unix time of the last reading without a problem.",
    "file",
)
CERTIFICATE_EXPIRY = gauge(
    "imagesieve_certificate_expiry_timestamp_seconds",
    "Unix time at which a certificate in force is over: server, client_ca or console.",
    "certificate",
)
IMAGES_IN_FLIGHT = gauge("imagesieve_images_in_flight", "Images admitted and not yet answered.")
IMAGE_BYTES_IN_FLIGHT = gauge(
    "imagesieve_images_in_flight_bytes", "Bytes of the images admitted and not yet answered."
)
VIEWS_IN_FLIGHT = gauge(
    "imagesieve_views_in_flight",
    "Views of the images in flight; expected ones until an image is decoded.",
)
PREDICTED_WAIT = gauge(
    "imagesieve_predicted_wait_seconds",
    "Views in flight ÷ the measured pace: what a newcomer would wait.",
)
IMAGES_SHED = counter(
    "imagesieve_images_shed_total",
    "Images refused because of load: calls (not read), room (views or bytes), time (deadline).",
    "reason",
)
IMAGES_ABANDONED = counter(
    "imagesieve_images_abandoned_total", "Images dropped because their caller went away."
)
QUOTA_REFUSALS = counter(
    "imagesieve_quota_refusals_total",
    "Images refused because a tenant's quota is used up.",
    "quota",
)
STAGE_SECONDS = histogram(
    "imagesieve_stage_seconds", "Seconds one image spent in a stage.", _STAGE_SECONDS, "stage"
)

DECODE_FAILURES = counter(
    "imagesieve_decode_failures_total", "Images no picture could be made of.", "reason"
)
DECODE_WORKERS_BUSY = gauge("imagesieve_decode_workers_busy", "Decode workers at work.")
DECODE_WORKERS_ALIVE = gauge("imagesieve_decode_workers_alive", "Decode worker processes.")
DECODE_WORKER_DEATHS = counter(
    "imagesieve_decode_worker_deaths_total", "Decode workers that ended unasked.", "reason"
)
IMAGES_QUARANTINED = counter(
    "imagesieve_images_quarantined_total",
    "Images that are not decoded any more for an hour because decode workers died on them.",
)
CONTENT_CACHE = counter(
    "imagesieve_content_cache_total",
    "Images whose bytes were seen before (hit), were just looked at for another request "
    "(joined), or had to be looked at (miss).",
    "result",
)
CONTENT_CACHE_BYTES = gauge(
    "imagesieve_content_cache_bytes", "Memory that what was seen of pictures takes."
)
IMAGE_VIEWS = histogram("imagesieve_image_views", "Views of one decoded image.", _VIEWS)

BATCH_ROWS = histogram("imagesieve_encoder_batch_rows", "Real rows of one encoder batch.", _ROWS)
BATCH_CAPACITY = histogram(
    "imagesieve_encoder_batch_capacity_rows", "Bucket size of one encoder batch.", _ROWS
)
BATCH_SECONDS = histogram(
    "imagesieve_encoder_batch_seconds", "Seconds one encoder batch ran.", _STAGE_SECONDS
)
ENCODER_QUEUE = gauge("imagesieve_encoder_queue_views", "Views waiting for the encoder.")
ENCODER_HEALTHY = gauge("imagesieve_encoder_healthy", "1 while the encoder answers correctly.")
ENCODER_FAILURES = counter(
    "imagesieve_encoder_failures_total",
    "Failures of the encoder: of a batch (an error or a hang), or of the canary.",
    "reason",
)
ENCODER_DROPPED = counter(
    "imagesieve_encoder_dropped_views_total", "Views dropped before the encoder.", "reason"
)

VERDICTS = counter(
    "imagesieve_verdicts_total",
    "Answers by verdict; degraded is true where the failure table chose it.",
    "policy",
    "verdict",
    "degraded",
)
REASONS = counter("imagesieve_verdict_reasons_total", "Reasons of verdicts.", "policy", "code")
CATEGORY_LOG_ODDS = histogram(
    "imagesieve_category_log_odds",
    "Log-odds of a category's score (the cosine itself for method cosine).",
    _LOG_ODDS,
    "policy",
    "category",
)
CATEGORY_BANDS = counter(
    "imagesieve_category_bands_total",
    "Images by category and band, for the policy versions in force.",
    "policy",
    "policy_version",
    "category",
    "band",
)
CATEGORY_ENFORCED = gauge(
    "imagesieve_category_enforced",
    "1 for a category that is enforced, 0 for one that is only observed.",
    "policy",
    "category",
)

SPIKES = counter(
    "imagesieve_flag_spikes_total",
    "Times that one group of look-alikes, one uploader or one tenant sent many flags at once.",
    "kind",
)
LARGEST_SOURCE = gauge(
    "imagesieve_flags_largest_source",
    "Flags of the group, the uploader or the tenant that sent most of them within the window.",
    "kind",
)

AUDIT_SAMPLES = counter(
    "imagesieve_audit_samples_total",
    "Uploads drawn from ALLOW for review: kept, counted (again uploaded bytes that were kept), "
    "or dropped, which biases the estimate of recall.",
    "policy",
    "result",
)

POLICY_INFO = gauge(
    "imagesieve_policy_info",
    "1 for each policy in force.",
    "policy",
    "policy_version",
    "model_version",
)
POLICY_RELOADS = counter("imagesieve_policy_reloads_total", "Policy reloads.", "result")
POLICY_RELOADED_AT = gauge(
    "imagesieve_policy_last_reload_success_timestamp_seconds",
    "Unix time of the last reload without a problem; 0 before the first.",
)
POLICY_RELOAD_OK = gauge(
    "imagesieve_policy_last_reload_successful", "1 where the last reload had no problem."
)
MODEL_INFO = gauge(
    "imagesieve_model_info",
    "1 for the model bundle in use.",
    "model_version",
    "name",
    "precision",
    "provider",
)
BUILD_INFO = gauge("imagesieve_build_info", "1 for the running release.", "version", "python")

STORE_COMMIT_SECONDS = histogram(
    "imagesieve_store_commit_seconds", "Seconds one group commit of flags took.", _STAGE_SECONDS
)
STORE_FLAGS = counter("imagesieve_store_flags_total", "Flags kept by group commits.")
STORE_ERRORS = counter(
    "imagesieve_store_errors_total", "Store operations that failed.", "operation"
)
STORE_HEALTHY = gauge(
    "imagesieve_store_healthy", "1 where the review store answered when last asked."
)
DISK_FREE = gauge(
    "imagesieve_disk_free_bytes",
    "Bytes that the server may still write where database, evidence and kept embeddings lie.",
    "folder",
)
REVIEW_ITEMS = gauge("imagesieve_review_items", "Review items by state.", "state")
REVIEW_OLDEST_AGE = gauge(
    "imagesieve_review_oldest_ready_age_seconds",
    "Seconds the oldest READY review item has waited; 0 where none is ready.",
)
REVIEW_SECOND = gauge(
    "imagesieve_review_awaiting_second_review",
    "READY review items that one person has reviewed and another one must review, too.",
)
REVIEW_QUALITY = counter(
    "imagesieve_review_quality_total",
    "Words of reviewers, compared: agreed or differed (with a second review), golden_right, "
    "golden_wrong or golden_passed, and upheld or overturned (the decision before it).",
    "what",
)

SHADOW_INFO = gauge(
    "imagesieve_shadow_info",
    "1 for each shadow policy that is scored, beside the policy in force of that name.",
    "policy",
    "shadow_version",
)
SHADOW_RELOADS = counter(
    "imagesieve_shadow_reloads_total", "Readings of the shadow policies.", "result"
)
SHADOW_RELOAD_OK = gauge(
    "imagesieve_shadow_last_reload_successful",
    "1 where every shadow policy could be taken when they were last read, or none is wanted.",
)
SHADOW_VERDICTS = counter(
    "imagesieve_shadow_verdicts_total",
    "Images by the verdict given and by the shadow's, for the shadows in use.",
    "policy",
    "shadow_version",
    "live",
    "shadow",
)
SHADOW_BANDS = counter(
    "imagesieve_shadow_category_bands_total",
    "Images by category, its band in the answer and under the shadow; NONE where one lacks it.",
    "policy",
    "shadow_version",
    "category",
    "live",
    "shadow",
)
SHADOW_MISSED = counter(
    "imagesieve_shadow_missed_total",
    "Images that their shadow did not score: queue (came too fast), views (the policy in force "
    "looks at others), error.",
    "reason",
)

EMBEDDINGS_KEPT = counter(
    "imagesieve_embeddings_kept_total", "Embeddings written for judging again, one a view."
)
EMBEDDINGS_DROPPED = counter(
    "imagesieve_embeddings_dropped_total",
    "Embeddings not kept: queue (handed over faster than written), room (embeddings.max_mib "
    "is used up), error (the writing failed).",
    "reason",
)
EMBEDDING_ERRORS = counter(
    "imagesieve_embedding_errors_total",
    "Operations of the embedding store that failed: see, write, erase, tidy.",
    "operation",
)
EMBEDDINGS_BYTES = gauge(
    "imagesieve_embeddings_bytes", "Bytes that the kept embeddings take on the disk."
)
CONSOLE_LOGINS = counter(
    "imagesieve_console_logins_total", "Attempts to sign in to the console.", "result"
)
CONSOLE_REVEALS = counter(
    "imagesieve_console_reveals_total",
    "Pictures that a person saw unveiled: asked for, or shown because never veiled.",
    "how",
)

ALL_SERIES: tuple[Series, ...] = tuple(
    value for value in list(globals().values()) if isinstance(value, Series)
)
"""Every series, in the order of this file."""

FIXED_LABELS: tuple[tuple[Series, tuple[str, ...]], ...] = (
    (IMAGES_SHED, ("calls", "room", "time")),
    (CONTENT_CACHE, ("hit", "joined", "miss")),
    (STAGE_SECONDS, ("admit", "decode", "encode", "score", "keep")),
    (DECODE_FAILURES, tuple(UndecodableDetail)),
    (DECODE_WORKER_DEATHS, ("timed_out", "cpu", "killed", "exited", "protocol")),
    (ENCODER_FAILURES, ("batch", "canary")),
    (POLICY_RELOADS, ("ok", "failed")),
    (SPIKES, ("group", "uploader", "tenant")),
    (STORE_ERRORS, ("submit", "record", "evidence", "answer_of", "stats")),
    (REVIEW_ITEMS, tuple(OPEN)),
    (REVIEW_QUALITY, (
        "agreed", "differed", "golden_right", "golden_wrong", "golden_passed", "upheld",
        "overturned",
    )),
    (CONSOLE_LOGINS, ("ok", "failed", "limited")),
    (CONSOLE_REVEALS, ("asked", "shown")),
    (SHADOW_RELOADS, ("ok", "failed")),
    (SHADOW_MISSED, ("queue", "views", "error")),
    (EMBEDDINGS_DROPPED, ("queue", "room", "error")),
    (EMBEDDING_ERRORS, ("see", "write", "erase", "tidy")),
)  # fmt: skip
"""Values of the only label that exist from the start: no rate is seen in a counter whose first
sample is 1, so an alert needs the zero before the first failure."""


def reference_table() -> str:
    """The series as the Markdown table of the reference."""
    rows = ["| Series | Type | Labels | Meaning |", "|---|---|---|---|"]
    for series in ALL_SERIES:
        labels = ", ".join(f"`{label}`" for label in series.labels)
        rows.append(f"| `{series.name}` | {series.kind} | {labels} | {series.help} |")
    return "\n".join(rows) + "\n"
