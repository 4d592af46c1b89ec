-- When spending was booked last, so that who looks for budgets that have reached a part of their amount looks at those alone.
ALTER TABLE budget_window ADD COLUMN booked_ms BIGINT NOT NULL DEFAULT 0;
CREATE INDEX budget_window_booked ON budget_window (booked_ms);

-- What was told: each part of an amount once in each window, whichever control plane sees it first.
CREATE TABLE budget_alert (
    budget TEXT NOT NULL,
    window_ms BIGINT NOT NULL,
    percent BIGINT NOT NULL,
    at_ms BIGINT NOT NULL,
    PRIMARY KEY (budget, window_ms, percent)
);

-- What is to be sent to whom, written with the above. `done_ms` is 0 until it was taken, or given up (`is_lost` 1).
CREATE TABLE alert_delivery (
    id TEXT NOT NULL PRIMARY KEY,
    destination TEXT NOT NULL,
    body TEXT NOT NULL,
    made_ms BIGINT NOT NULL,
    due_ms BIGINT NOT NULL,
    n_attempts BIGINT NOT NULL,
    error TEXT NOT NULL,
    done_ms BIGINT NOT NULL,
    is_lost BIGINT NOT NULL
);
CREATE INDEX alert_delivery_due ON alert_delivery (done_ms, due_ms);
