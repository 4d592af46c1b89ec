-- Images among the tokens, and what is charged by something else than tokens. What an older version writes has none of it.

ALTER TABLE usage_event ADD COLUMN input_image BIGINT NOT NULL DEFAULT 0;
ALTER TABLE usage_event ADD COLUMN output_image BIGINT NOT NULL DEFAULT 0;
ALTER TABLE usage_event ADD COLUMN pictures_made BIGINT NOT NULL DEFAULT 0;
ALTER TABLE usage_event ADD COLUMN pictures_read BIGINT NOT NULL DEFAULT 0;
ALTER TABLE usage_event ADD COLUMN audio_ms BIGINT NOT NULL DEFAULT 0;
ALTER TABLE usage_event ADD COLUMN characters BIGINT NOT NULL DEFAULT 0;
ALTER TABLE usage_event ADD COLUMN searches BIGINT NOT NULL DEFAULT 0;

ALTER TABLE usage_counter ADD COLUMN input_image BIGINT NOT NULL DEFAULT 0;
ALTER TABLE usage_counter ADD COLUMN output_image BIGINT NOT NULL DEFAULT 0;
ALTER TABLE usage_counter ADD COLUMN pictures_made BIGINT NOT NULL DEFAULT 0;
ALTER TABLE usage_counter ADD COLUMN pictures_read BIGINT NOT NULL DEFAULT 0;
ALTER TABLE usage_counter ADD COLUMN audio_ms BIGINT NOT NULL DEFAULT 0;
ALTER TABLE usage_counter ADD COLUMN characters BIGINT NOT NULL DEFAULT 0;
ALTER TABLE usage_counter ADD COLUMN searches BIGINT NOT NULL DEFAULT 0;
