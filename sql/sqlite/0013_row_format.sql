-- Tokens have at most 255 bytes, as on MySQL.

-- +goose Up
DELETE FROM IMDeviceToken WHERE LENGTH(CAST(token AS BLOB)) > 255;
