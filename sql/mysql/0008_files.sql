-- Which file_server has an off-line file, and until when.

-- +goose Up
ALTER TABLE IMTransmitFile
  ADD COLUMN server  varchar(64) NOT NULL DEFAULT '',          -- ours: its first address for clients, IP:port
  ADD COLUMN expires int unsigned NOT NULL DEFAULT 0;          -- ours: Unix seconds; 0 = never
