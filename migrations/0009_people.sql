-- People who sign in. `user_name` is that of a user in config_item; what is older than that user is of one who had the name before.
CREATE TABLE person_password (
    user_name TEXT NOT NULL PRIMARY KEY,
    hash TEXT NOT NULL,
    set_at_ms BIGINT NOT NULL
);

-- To choose a password with, once. `digest` is what is kept of its secret.
CREATE TABLE person_invitation (
    user_name TEXT NOT NULL PRIMARY KEY,
    digest BYTEA NOT NULL UNIQUE,
    created_at_ms BIGINT NOT NULL,
    expires_at_ms BIGINT NOT NULL
);

-- Browsers of people, apart from those with the master key in admin_session: an older version must not take one for the other.
-- Of a user (`user_name`), who is looked up at each request; or of somebody whom an identity provider spoke for, with what it said.
CREATE TABLE person_session (
    digest BYTEA NOT NULL PRIMARY KEY,
    actor TEXT NOT NULL,
    user_name TEXT NOT NULL,
    role TEXT NOT NULL,
    teams TEXT NOT NULL,
    created_at_ms BIGINT NOT NULL,
    expires_at_ms BIGINT NOT NULL
);
CREATE INDEX person_session_expires ON person_session (expires_at_ms);
CREATE INDEX person_session_user ON person_session (user_name);
