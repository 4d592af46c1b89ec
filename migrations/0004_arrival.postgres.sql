-- As 0004_arrival.sqlite.sql, and the tables in parts by day. The id is what they are parted by: request ids begin with their
-- time (UUIDv7), and so the primary key can stay the id alone. Ids that are something else, and days without a part of their own, are
-- in the default part. Parts are made and dropped by control-plane/store/src/db/days.rs.

ALTER TABLE usage_event RENAME TO usage_event_whole;
ALTER INDEX usage_event_pkey RENAME TO usage_event_whole_pkey;
DROP INDEX usage_event_started;
CREATE TABLE usage_event (
    id TEXT COLLATE "C" NOT NULL PRIMARY KEY,
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
    tags TEXT NOT NULL,
    stored_ms BIGINT NOT NULL
) PARTITION BY RANGE (id);
CREATE INDEX usage_event_started ON usage_event (started_ms, id);
CREATE TABLE usage_event_default PARTITION OF usage_event DEFAULT;
CREATE INDEX usage_event_default_stored ON usage_event_default (stored_ms);
INSERT INTO usage_event SELECT *, started_ms FROM usage_event_whole;
DROP TABLE usage_event_whole;

ALTER TABLE log_record RENAME TO log_record_whole;
ALTER INDEX log_record_pkey RENAME TO log_record_whole_pkey;
DROP INDEX log_record_started;
CREATE TABLE log_record (
    id TEXT COLLATE "C" NOT NULL PRIMARY KEY,
    node_id TEXT NOT NULL,
    started_ms BIGINT NOT NULL,
    key_id TEXT NOT NULL,
    key_name TEXT NOT NULL,
    model TEXT NOT NULL,
    provider TEXT NOT NULL,
    status BIGINT NOT NULL,
    record TEXT NOT NULL,
    stored_ms BIGINT NOT NULL
) PARTITION BY RANGE (id);
CREATE INDEX log_record_started ON log_record (started_ms, id);
CREATE INDEX log_record_stored ON log_record (stored_ms, id);
CREATE TABLE log_record_default PARTITION OF log_record DEFAULT;
INSERT INTO log_record SELECT *, started_ms FROM log_record_whole;
DROP TABLE log_record_whole;
