-- Which of the control planes on this database does what only one may do. `fencing` never goes back; a lease that was given up has expired at 0.
CREATE TABLE job_lease (
    name TEXT NOT NULL PRIMARY KEY,
    holder TEXT NOT NULL,
    fencing BIGINT NOT NULL,
    expires_at_ms BIGINT NOT NULL
);
