-- What a lease holds of grants that its boot is not known to have heard of: in a window that is over nobody will, and it is free again.
-- None of those before.

ALTER TABLE budget_lease ADD COLUMN unheard BIGINT NOT NULL DEFAULT 0;
CREATE INDEX budget_lease_unheard ON budget_lease (node_id, boot_id) WHERE unheard > 0;
