-- For whom a request was, and the sums by that and by tag as well. The sums that were there stay; for whom they were is not known.
--
-- `usage_counter` goes at once and not a release later: a version that still writes it is refused, so that its nodes keep what they
-- have and come again. Were it kept, what that version counts would be in no sum.

ALTER TABLE usage_event ADD COLUMN user_name TEXT NOT NULL DEFAULT '';
ALTER TABLE usage_event ADD COLUMN team TEXT NOT NULL DEFAULT '';
ALTER TABLE usage_event ADD COLUMN organization TEXT NOT NULL DEFAULT '';

-- Sums of the rows of `usage_event`, kept when those are deleted. `day` counts days since 1970 (UTC). A request with several tags is in
-- one row per tag, and `is_first` is 1 in one of them: rows with 1 hold each request once, rows of one tag hold each of its requests once.
CREATE TABLE spend_counter (
    day BIGINT NOT NULL,
    key_id TEXT NOT NULL,
    model TEXT NOT NULL,
    provider TEXT NOT NULL,
    user_name TEXT NOT NULL,
    team TEXT NOT NULL,
    organization TEXT NOT NULL,
    tag TEXT NOT NULL,
    is_first BIGINT NOT NULL,
    requests BIGINT NOT NULL,
    input BIGINT NOT NULL,
    cache_read BIGINT NOT NULL,
    cache_write BIGINT NOT NULL,
    cache_write_1h BIGINT NOT NULL,
    output BIGINT NOT NULL,
    reasoning BIGINT NOT NULL,
    input_audio BIGINT NOT NULL,
    output_audio BIGINT NOT NULL,
    input_image BIGINT NOT NULL,
    output_image BIGINT NOT NULL,
    pictures_made BIGINT NOT NULL,
    pictures_read BIGINT NOT NULL,
    audio_ms BIGINT NOT NULL,
    characters BIGINT NOT NULL,
    searches BIGINT NOT NULL,
    cost_nano_usd BIGINT NOT NULL,
    unpriced BIGINT NOT NULL,
    PRIMARY KEY (day, key_id, model, provider, user_name, team, organization, tag, is_first)
);
INSERT INTO spend_counter
    SELECT day, key_id, model, provider, '', '', '', '', 1, requests, input, cache_read, cache_write, cache_write_1h, output, reasoning,
        input_audio, output_audio, input_image, output_image, pictures_made, pictures_read, audio_ms, characters, searches, cost_nano_usd,
        unpriced
    FROM usage_counter;
DROP TABLE usage_counter;

-- When a key was used last, to the minute.
CREATE TABLE key_use (
    key_id TEXT NOT NULL PRIMARY KEY,
    used_ms BIGINT NOT NULL
);
