-- Numbers are terms too, by how they begin, so that the index knows that nobody has one so great: of 1234567 these are 7, 7.1 and 7.12,
-- of which the first says how many digits there are. The same expression stands in control-plane/store/src/db/find.rs. The index is made
-- anew, which takes about a minute for a million records.

DROP INDEX log_record_terms;
SET LOCAL maintenance_work_mem = '512MB';
CREATE INDEX log_record_terms ON log_record USING gin (
    array_to_tsvector(ARRAY['key=' || left(key_id, 200), 'key=' || left(key_name, 200), 'model=' || left(model, 200),
        'provider=' || left(provider, 200), 'status=' || CAST(status AS TEXT), 'status=' || CAST(status / 100 AS TEXT) || 'xx',
        'total_us=' || length(CAST(total_us AS TEXT)),
        'total_us=' || length(CAST(total_us AS TEXT)) || '.' || left(CAST(total_us AS TEXT), 1),
        'total_us=' || length(CAST(total_us AS TEXT)) || '.' || left(CAST(total_us AS TEXT), 2),
        'cost_nano_usd=' || length(CAST(cost_nano_usd AS TEXT)),
        'cost_nano_usd=' || length(CAST(cost_nano_usd AS TEXT)) || '.' || left(CAST(cost_nano_usd AS TEXT), 1),
        'cost_nano_usd=' || length(CAST(cost_nano_usd AS TEXT)) || '.' || left(CAST(cost_nano_usd AS TEXT), 2)]
        || string_to_array(terms, chr(10)))
);
