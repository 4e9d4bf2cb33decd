ALTER TABLE entries DROP COLUMN event_digest;
