-- Text that others choose and that is a key is compared byte by byte, as on SQLite, whatever collation the database has.
-- That collation is the system's, and may change with it: a unique index in its order then no longer finds what is there,
-- and an event could be booked twice. Bytes are also compared faster. Builds the indexes of these columns anew.
ALTER TABLE entries
    ALTER COLUMN event_id TYPE TEXT COLLATE "C",
    ALTER COLUMN reverses TYPE TEXT COLLATE "C";
ALTER TABLE balances ALTER COLUMN currency TYPE TEXT COLLATE "C";
ALTER TABLE conflicts
    ALTER COLUMN event_id TYPE TEXT COLLATE "C",
    ALTER COLUMN kind TYPE TEXT COLLATE "C",
    ALTER COLUMN currency TYPE TEXT COLLATE "C";
