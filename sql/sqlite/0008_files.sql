-- Which file_server has an off-line file, and until when.

-- +goose Up
ALTER TABLE IMTransmitFile ADD COLUMN server TEXT NOT NULL DEFAULT '' CHECK (length(server) <= 64); -- ours: its first address for clients, IP:port
ALTER TABLE IMTransmitFile ADD COLUMN expires INTEGER NOT NULL DEFAULT 0; -- ours: Unix seconds; 0 = never
