-- How far each exporter is: everything up to (`stored_ms`, `id`) is done with. What follows up to (`until_ms`, `until_id`) is the batch that
-- is on its way, written before it is sent, so that whoever sends it again sends the same; 0 where there is none.
CREATE TABLE export_cursor (
    exporter TEXT NOT NULL PRIMARY KEY,
    stored_ms BIGINT NOT NULL,
    id TEXT NOT NULL,
    until_ms BIGINT NOT NULL,
    until_id TEXT NOT NULL,
    batch BIGINT NOT NULL,
    n_attempts BIGINT NOT NULL,
    due_ms BIGINT NOT NULL,
    n_delivered BIGINT NOT NULL,
    n_failed BIGINT NOT NULL,
    n_dropped BIGINT NOT NULL,
    error TEXT NOT NULL,
    error_ms BIGINT NOT NULL,
    delivered_ms BIGINT NOT NULL
);
