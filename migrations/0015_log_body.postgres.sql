-- As 0015_log_body.sqlite.sql, in parts by day: see 0004_arrival.postgres.sql.

CREATE TABLE log_body (
    id TEXT COLLATE "C" NOT NULL PRIMARY KEY,
    node_id TEXT NOT NULL,
    started_ms BIGINT NOT NULL,
    document BYTEA NOT NULL,
    stored_ms BIGINT NOT NULL
) PARTITION BY RANGE (id);
CREATE TABLE log_body_default PARTITION OF log_body DEFAULT;
CREATE INDEX log_body_default_stored ON log_body_default (stored_ms);

CREATE TABLE body_watermark (
    node_id TEXT NOT NULL,
    boot_id TEXT NOT NULL,
    up_to_seq BIGINT NOT NULL,
    newest_ms BIGINT NOT NULL,
    dropped_total BIGINT NOT NULL,
    PRIMARY KEY (node_id, boot_id)
);
