-- Where a membership began, and where a line of the recent list was removed,
-- by message instead of by second. NULL: by time, as before. In
-- IMDeliveryCursor the row of type 0 and peer 0 says that a terminal is known.

-- +goose Up
ALTER TABLE IMGroupMember ADD COLUMN joinedId int unsigned DEFAULT NULL;     -- ours: the newest message when he joined

ALTER TABLE IMRecentSession ADD COLUMN removedId int unsigned DEFAULT NULL;  -- ours: the newest message when it was removed
