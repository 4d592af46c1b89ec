-- The service tier that a request was served in, as its reply says: `priority`, `flex`, `batch`, or empty for the ordinary one and for
-- those before. What a request cost can be worked out anew from its row alone.

ALTER TABLE usage_event ADD COLUMN tier TEXT NOT NULL DEFAULT '';
