-- Money, in nano-dollars. `spent` is what usage events say, `leased` what nodes may still spend without asking: the sum over the windows that
-- a budget counts stays within its amount.
CREATE TABLE budget_window (
    budget TEXT NOT NULL,
    start_ms BIGINT NOT NULL,
    spent BIGINT NOT NULL,
    leased BIGINT NOT NULL,
    PRIMARY KEY (budget, start_ms)
);

-- Whoever grants of a budget locks its row first: one at a time, whatever windows are looked at.
CREATE TABLE budget_head (
    budget TEXT NOT NULL PRIMARY KEY,
    granted_ms BIGINT NOT NULL
);

-- Totals of one boot of a node in one window. What it holds is `granted - returned - settled`, never below 0.
CREATE TABLE budget_lease (
    budget TEXT NOT NULL,
    start_ms BIGINT NOT NULL,
    node_id TEXT NOT NULL,
    boot_id TEXT NOT NULL,
    granted BIGINT NOT NULL,
    returned BIGINT NOT NULL,
    settled BIGINT NOT NULL,
    PRIMARY KEY (budget, start_ms, node_id, boot_id)
);
CREATE INDEX budget_lease_boot ON budget_lease (node_id, boot_id);
