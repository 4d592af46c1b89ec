-- Requests of a session whose cost nobody knows, so that a sum without a price is not shown as nothing. None of those before are known.

ALTER TABLE log_session ADD COLUMN unpriced BIGINT NOT NULL DEFAULT 0;
