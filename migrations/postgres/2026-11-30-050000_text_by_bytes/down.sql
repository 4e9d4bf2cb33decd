ALTER TABLE conflicts
    ALTER COLUMN event_id TYPE TEXT COLLATE "default",
    ALTER COLUMN kind TYPE TEXT COLLATE "default",
    ALTER COLUMN currency TYPE TEXT COLLATE "default";
ALTER TABLE balances ALTER COLUMN currency TYPE TEXT COLLATE "default";
ALTER TABLE entries
    ALTER COLUMN event_id TYPE TEXT COLLATE "default",
    ALTER COLUMN reverses TYPE TEXT COLLATE "default";
