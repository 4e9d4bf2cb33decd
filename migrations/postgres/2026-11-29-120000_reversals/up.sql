-- A reversal names the entry that it takes back by its event id, and says how much of that entry it left. All
-- reversals of an entry together take back no more than it has: each leaves less than the one before it, and none less
-- than nothing. The index finds the last one first, and has no row of any other entry.
ALTER TABLE entries ADD COLUMN reverses TEXT;
ALTER TABLE entries ADD COLUMN left_after BIGINT;
-- Not valid for the rows that are there, which have none: so they are not read.
ALTER TABLE entries ADD CONSTRAINT entries_left_after_check CHECK (left_after >= 0) NOT VALID;
CREATE UNIQUE INDEX entries_reverses ON entries (reverses, left_after) WHERE reverses IS NOT NULL;
