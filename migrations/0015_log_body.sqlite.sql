-- What was asked and answered, of requests for which that is kept: compressed JSON. And how far each boot of each node has come with it.

CREATE TABLE log_body (
    id TEXT NOT NULL PRIMARY KEY,
    node_id TEXT NOT NULL,
    started_ms BIGINT NOT NULL,
    document BYTEA NOT NULL,
    stored_ms BIGINT NOT NULL
);
CREATE INDEX log_body_stored ON log_body (stored_ms);

CREATE TABLE body_watermark (
    node_id TEXT NOT NULL,
    boot_id TEXT NOT NULL,
    up_to_seq BIGINT NOT NULL,
    newest_ms BIGINT NOT NULL,
    dropped_total BIGINT NOT NULL,
    PRIMARY KEY (node_id, boot_id)
);
