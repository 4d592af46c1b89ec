-- Which nodes belong to the fleet. Zero stands for "never" and "any number", so that no number is ever NULL.

-- The fleet's certificate authority: one row, whose id is 1. The key is sealed under the key-encryption key.
CREATE TABLE authority (
    id BIGINT NOT NULL PRIMARY KEY,
    certificate BYTEA NOT NULL,
    sealed BYTEA NOT NULL,
    created_at_ms BIGINT NOT NULL
);

-- `digest` is what is kept of a token; only the one that stands in ready files is kept as well, sealed. `uses` 0: any number.
CREATE TABLE join_token (
    id TEXT NOT NULL PRIMARY KEY,
    digest BYTEA NOT NULL,
    sealed BYTEA,
    labels TEXT NOT NULL,
    uses BIGINT NOT NULL,
    uses_left BIGINT NOT NULL,
    created_by TEXT NOT NULL,
    created_at_ms BIGINT NOT NULL,
    expires_at_ms BIGINT NOT NULL
);
CREATE UNIQUE INDEX join_token_digest ON join_token (digest);

-- A node with a certificate; `serial` and `not_after_ms` are those of its newest one, `labels` those that its token gave it.
CREATE TABLE member (
    node_id TEXT NOT NULL PRIMARY KEY,
    serial TEXT NOT NULL,
    not_after_ms BIGINT NOT NULL,
    labels TEXT NOT NULL,
    token_id TEXT NOT NULL,
    enrolled_at_ms BIGINT NOT NULL,
    revoked_at_ms BIGINT NOT NULL
);
CREATE INDEX member_revoked ON member (revoked_at_ms);

-- The control planes on this database, and how many nodes each one serves. `seen_ms` is by its own clock.
CREATE TABLE replica (
    id TEXT NOT NULL PRIMARY KEY,
    n_nodes BIGINT NOT NULL,
    seen_ms BIGINT NOT NULL
);
