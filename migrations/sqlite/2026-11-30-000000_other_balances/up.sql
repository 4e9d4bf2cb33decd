-- The user's balances in all other currencies after the entry, so that one row holds all balances at a version: a JSON
-- object of codes and minor units, in the order of codes, without zeros; NULL when all are zero.
ALTER TABLE entries ADD COLUMN other_balances TEXT;

-- How far the entries of earlier versions have been filled in. The service does that before the next migration.
CREATE TABLE filling (
    id         INTEGER NOT NULL PRIMARY KEY CHECK (id = 1),
    user_id    INTEGER NOT NULL,
    version    INTEGER NOT NULL,
    filled     INTEGER NOT NULL,
    total      INTEGER NOT NULL,
    -- The newest entry when it began. Another one shows that an earlier version has written meanwhile.
    last_entry INTEGER NOT NULL
) STRICT;
