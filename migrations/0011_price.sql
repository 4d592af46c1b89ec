-- The row of prices that a request was charged by; empty for those before.

ALTER TABLE usage_event ADD COLUMN price TEXT NOT NULL DEFAULT '';
