-- Browsers that are signed in. `digest` is what is kept of a session's secret.
CREATE TABLE admin_session (
    digest BYTEA NOT NULL PRIMARY KEY,
    actor TEXT NOT NULL,
    created_at_ms BIGINT NOT NULL,
    expires_at_ms BIGINT NOT NULL
);
CREATE INDEX admin_session_expires ON admin_session (expires_at_ms);

-- What went through, in steps of a minute, a quarter of an hour and an hour (`step`, in minutes; `minute`, where one begins, since 1970):
-- of everything under the empty scope, and of each provider under its name.
-- `bucket` is 0 for sums; of a time it is the band of its size, see control-plane/store/src/traffic.rs.
CREATE TABLE traffic (
    step BIGINT NOT NULL,
    minute BIGINT NOT NULL,
    scope TEXT NOT NULL,
    measure TEXT NOT NULL,
    bucket BIGINT NOT NULL,
    n BIGINT NOT NULL,
    PRIMARY KEY (step, minute, scope, measure, bucket)
);
