-- As 0016_search.sqlite.sql, and one index of all terms and words. The columns are made terms here, so that records from before are
-- found by them; 200 letters are less than a lexeme may have. The same expression stands in control-plane/store/src/db/find.rs.

ALTER TABLE log_record ADD COLUMN terms TEXT NOT NULL DEFAULT '';
ALTER TABLE log_record ADD COLUMN total_us BIGINT NOT NULL DEFAULT 0;
ALTER TABLE log_record ADD COLUMN cost_nano_usd BIGINT NOT NULL DEFAULT 0;
CREATE INDEX log_record_terms ON log_record USING gin (
    array_to_tsvector(ARRAY['key=' || left(key_id, 200), 'key=' || left(key_name, 200), 'model=' || left(model, 200),
        'provider=' || left(provider, 200), 'status=' || CAST(status AS TEXT), 'status=' || CAST(status / 100 AS TEXT) || 'xx']
        || string_to_array(terms, chr(10)))
);
