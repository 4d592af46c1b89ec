-- Portable between SQLite and PostgreSQL: TEXT, BIGINT and BYTEA only; booleans are BIGINT 0/1, times are Unix milliseconds, JSON is TEXT.

-- One row per class of config. Whoever writes config locks the rows first, so that revisions are free of gaps and in commit order.
CREATE TABLE config_head (
    class TEXT NOT NULL PRIMARY KEY,
    epoch TEXT NOT NULL,
    revision BIGINT NOT NULL,
    min_resumable BIGINT NOT NULL
);

-- What is configured now.
CREATE TABLE config_item (
    class TEXT NOT NULL,
    kind TEXT NOT NULL,
    id TEXT NOT NULL,
    name TEXT NOT NULL,
    revision BIGINT NOT NULL,
    document TEXT NOT NULL,
    sealed BYTEA,
    secret_facts TEXT NOT NULL,
    digest BYTEA,
    pepper_version BIGINT NOT NULL,
    created_at_ms BIGINT NOT NULL,
    updated_at_ms BIGINT NOT NULL,
    owner TEXT,
    PRIMARY KEY (kind, id)
);
CREATE UNIQUE INDEX config_item_name ON config_item (kind, name);
CREATE UNIQUE INDEX config_item_digest ON config_item (digest);

-- What changed, one row per item and revision. Compaction keeps the newest row of each item up to `min_resumable`.
CREATE TABLE config_change (
    class TEXT NOT NULL,
    revision BIGINT NOT NULL,
    kind TEXT NOT NULL,
    id TEXT NOT NULL,
    op TEXT NOT NULL,
    name TEXT NOT NULL,
    document TEXT NOT NULL,
    sealed BYTEA,
    secret_facts TEXT NOT NULL,
    digest BYTEA,
    pepper_version BIGINT NOT NULL,
    created_at_ms BIGINT NOT NULL,
    updated_at_ms BIGINT NOT NULL,
    owner TEXT,
    actor TEXT NOT NULL,
    at_ms BIGINT NOT NULL,
    PRIMARY KEY (class, revision, kind, id)
);
CREATE INDEX config_change_item ON config_change (class, kind, id, revision);

CREATE TABLE config_revision (
    class TEXT NOT NULL,
    revision BIGINT NOT NULL,
    actor TEXT NOT NULL,
    summary TEXT NOT NULL,
    n_changes BIGINT NOT NULL,
    at_ms BIGINT NOT NULL,
    PRIMARY KEY (class, revision)
);

-- Append-only. `hash` covers the row and the hash before it.
CREATE TABLE audit_event (
    seq BIGINT NOT NULL PRIMARY KEY,
    at_ms BIGINT NOT NULL,
    actor TEXT NOT NULL,
    ip TEXT NOT NULL,
    request_id TEXT NOT NULL,
    action TEXT NOT NULL,
    kind TEXT NOT NULL,
    name TEXT NOT NULL,
    before_document TEXT,
    after_document TEXT,
    hash BYTEA NOT NULL
);

CREATE TABLE usage_event (
    id TEXT NOT NULL PRIMARY KEY,
    node_id TEXT NOT NULL,
    started_ms BIGINT NOT NULL,
    key_id TEXT NOT NULL,
    model TEXT NOT NULL,
    provider TEXT NOT NULL,
    upstream_model TEXT NOT NULL,
    route TEXT NOT NULL,
    input BIGINT NOT NULL,
    cache_read BIGINT NOT NULL,
    cache_write BIGINT NOT NULL,
    cache_write_1h BIGINT NOT NULL,
    output BIGINT NOT NULL,
    reasoning BIGINT NOT NULL,
    input_audio BIGINT NOT NULL,
    output_audio BIGINT NOT NULL,
    settled_by TEXT NOT NULL,
    cost_nano_usd BIGINT NOT NULL,
    priced BIGINT NOT NULL,
    status BIGINT NOT NULL,
    topology_revision BIGINT NOT NULL,
    tags TEXT NOT NULL
);
CREATE INDEX usage_event_started ON usage_event (started_ms, id);

-- Sums of the rows of `usage_event`, kept when those are deleted. `day` counts days since 1970 (UTC).
CREATE TABLE usage_counter (
    day BIGINT NOT NULL,
    key_id TEXT NOT NULL,
    model TEXT NOT NULL,
    provider TEXT NOT NULL,
    requests BIGINT NOT NULL,
    input BIGINT NOT NULL,
    cache_read BIGINT NOT NULL,
    cache_write BIGINT NOT NULL,
    cache_write_1h BIGINT NOT NULL,
    output BIGINT NOT NULL,
    reasoning BIGINT NOT NULL,
    input_audio BIGINT NOT NULL,
    output_audio BIGINT NOT NULL,
    cost_nano_usd BIGINT NOT NULL,
    unpriced BIGINT NOT NULL,
    PRIMARY KEY (day, key_id, model, provider)
);

-- How far each lane of each boot of a node has been stored, and when the newest of its requests began.
CREATE TABLE usage_watermark (
    node_id TEXT NOT NULL,
    boot_id TEXT NOT NULL,
    lane BIGINT NOT NULL,
    up_to_seq BIGINT NOT NULL,
    newest_ms BIGINT NOT NULL,
    PRIMARY KEY (node_id, boot_id, lane)
);

-- `record` is the whole record as JSON; the other columns are what lists are filtered by.
CREATE TABLE log_record (
    id TEXT NOT NULL PRIMARY KEY,
    node_id TEXT NOT NULL,
    started_ms BIGINT NOT NULL,
    key_id TEXT NOT NULL,
    key_name TEXT NOT NULL,
    model TEXT NOT NULL,
    provider TEXT NOT NULL,
    status BIGINT NOT NULL,
    record TEXT NOT NULL
);
CREATE INDEX log_record_started ON log_record (started_ms, id);

CREATE TABLE log_watermark (
    node_id TEXT NOT NULL,
    boot_id TEXT NOT NULL,
    up_to_seq BIGINT NOT NULL,
    newest_ms BIGINT NOT NULL,
    dropped_total BIGINT NOT NULL,
    PRIMARY KEY (node_id, boot_id)
);

CREATE TABLE node (
    id TEXT NOT NULL PRIMARY KEY,
    version TEXT NOT NULL,
    boot_id TEXT NOT NULL,
    labels TEXT NOT NULL,
    first_seen_ms BIGINT NOT NULL,
    last_seen_ms BIGINT NOT NULL,
    state TEXT NOT NULL
);
