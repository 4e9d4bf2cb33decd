DROP INDEX entries_reverses;
ALTER TABLE entries DROP COLUMN left_after;
ALTER TABLE entries DROP COLUMN reverses;
