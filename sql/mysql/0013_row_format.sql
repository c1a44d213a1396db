-- The key of a token fits into every row format and every server: 255 bytes
-- instead of 255 characters of up to four. No real token is longer. New
-- databases have it so from the start; one that is as old as they are is
-- brought to the same.

-- +goose Up
DELETE FROM IMDeviceToken WHERE LENGTH(token) > 255;
ALTER TABLE IMDeviceToken MODIFY token varbinary(255) NOT NULL;
