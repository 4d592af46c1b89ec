-- What a request would have cost at the first target of the model that was asked for; null where that is not known, and for requests
-- before. Sums have what was saved of it: the baseline less the cost, of requests that have both, dearer ones taken off.

ALTER TABLE usage_event ADD COLUMN baseline_nano_usd BIGINT;
ALTER TABLE spend_counter ADD COLUMN saved_nano_usd BIGINT NOT NULL DEFAULT 0;
