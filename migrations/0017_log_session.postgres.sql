-- As 0017_log_session.sqlite.sql; a session is found by how it begins, which takes the order of bytes.
CREATE TABLE log_session (
    id TEXT COLLATE "C" NOT NULL PRIMARY KEY,
    first_ms BIGINT NOT NULL,
    last_ms BIGINT NOT NULL,
    requests BIGINT NOT NULL,
    failed BIGINT NOT NULL,
    refused BIGINT NOT NULL,
    input BIGINT NOT NULL,
    output BIGINT NOT NULL,
    cost_nano_usd BIGINT NOT NULL,
    stored_ms BIGINT NOT NULL
);
CREATE INDEX log_session_last ON log_session (last_ms, id);
CREATE INDEX log_session_stored ON log_session (stored_ms);

-- `field` is `key`, `user` or `model`.
CREATE TABLE log_session_name (
    session TEXT COLLATE "C" NOT NULL,
    field TEXT NOT NULL,
    name TEXT NOT NULL,
    requests BIGINT NOT NULL,
    stored_ms BIGINT NOT NULL,
    PRIMARY KEY (session, field, name)
);
CREATE INDEX log_session_name_stored ON log_session_name (stored_ms);

-- An alert has the name that its messages have. Who has acknowledged it, and when: 0 where nobody has.
ALTER TABLE budget_alert ADD COLUMN id TEXT NOT NULL DEFAULT '';
ALTER TABLE budget_alert ADD COLUMN acknowledged_ms BIGINT NOT NULL DEFAULT 0;
ALTER TABLE budget_alert ADD COLUMN acknowledged_by TEXT NOT NULL DEFAULT '';
UPDATE budget_alert SET id = 'alert_' || CAST(window_ms AS TEXT) || '_' || CAST(percent AS TEXT) || '_' || budget;
CREATE INDEX budget_alert_id ON budget_alert (id);
