-- The first 16 bytes of the SHA-256 of the event id: random keys of a fixed length make a smaller index, of which an entry
-- touches fewer pages. The service fills in the entries of earlier versions before the next migration.
ALTER TABLE entries ADD COLUMN event_digest BLOB;
