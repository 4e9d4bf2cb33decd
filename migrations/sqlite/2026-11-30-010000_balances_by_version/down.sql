CREATE TABLE filling (
    id         INTEGER NOT NULL PRIMARY KEY CHECK (id = 1),
    user_id    INTEGER NOT NULL,
    version    INTEGER NOT NULL,
    filled     INTEGER NOT NULL,
    total      INTEGER NOT NULL,
    last_entry INTEGER NOT NULL
) STRICT;
CREATE INDEX entries_user_currency_version ON entries (user_id, currency, version);
