-- What a record is found by beside its columns: a term a line (`team=core`), a word with `~` before it. Records from before have none.

ALTER TABLE log_record ADD COLUMN terms TEXT NOT NULL DEFAULT '';
ALTER TABLE log_record ADD COLUMN total_us BIGINT NOT NULL DEFAULT 0;
ALTER TABLE log_record ADD COLUMN cost_nano_usd BIGINT NOT NULL DEFAULT 0;
