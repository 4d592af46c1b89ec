-- When a row was stored, by our own clock: what retention goes by, since the start that a node tells may be wrong.

ALTER TABLE usage_event ADD COLUMN stored_ms BIGINT NOT NULL DEFAULT 0;
UPDATE usage_event SET stored_ms = started_ms;
CREATE INDEX usage_event_stored ON usage_event (stored_ms);

ALTER TABLE log_record ADD COLUMN stored_ms BIGINT NOT NULL DEFAULT 0;
UPDATE log_record SET stored_ms = started_ms;
CREATE INDEX log_record_stored ON log_record (stored_ms, id);
