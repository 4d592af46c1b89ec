-- What a user was when their session began: with another role it is over. Empty for sessions from before, and for those that are no user's.

ALTER TABLE person_session ADD COLUMN role_then TEXT NOT NULL DEFAULT '';
