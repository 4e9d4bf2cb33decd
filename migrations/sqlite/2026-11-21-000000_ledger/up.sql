-- STRICT: without it SQLite turns an integer that overflows into a float, and the balance is wrong for ever.
CREATE TABLE ledger_info (
    id            INTEGER NOT NULL PRIMARY KEY CHECK (id = 1),
    epoch         TEXT    NOT NULL,
    created_at_us INTEGER NOT NULL
) STRICT;

-- The scale of every amount in this ledger; the service refuses to start when its settings differ.
CREATE TABLE currencies (
    code     TEXT    NOT NULL PRIMARY KEY,
    decimals INTEGER NOT NULL
) STRICT;

CREATE TABLE accounts (
    user_id       INTEGER NOT NULL PRIMARY KEY,
    version       INTEGER NOT NULL CHECK (version >= 0),
    telegram_id   INTEGER UNIQUE,
    created_at_us INTEGER NOT NULL,
    updated_at_us INTEGER NOT NULL
) STRICT;

CREATE TABLE balances (
    user_id  INTEGER NOT NULL,
    currency TEXT    NOT NULL,
    amount   INTEGER NOT NULL CHECK (amount >= 0),
    PRIMARY KEY (user_id, currency)
) STRICT, WITHOUT ROWID;

CREATE TABLE entries (
    id              INTEGER NOT NULL PRIMARY KEY,
    user_id         INTEGER NOT NULL,
    version         INTEGER NOT NULL CHECK (version >= 1),
    kind            TEXT    NOT NULL,
    source          TEXT    NOT NULL,
    currency        TEXT    NOT NULL,
    amount          INTEGER NOT NULL CHECK (amount <> 0),
    balance_after   INTEGER NOT NULL CHECK (balance_after >= 0),
    event_id        TEXT    NOT NULL,
    tx_hash         BLOB,
    tx_lt           TEXT,
    tx_account      TEXT,
    reason          TEXT,
    metadata        TEXT,
    occurred_at_us  INTEGER,
    committed_at_us INTEGER NOT NULL
) STRICT;
CREATE UNIQUE INDEX entries_event_id ON entries (event_id);
CREATE UNIQUE INDEX entries_user_version ON entries (user_id, version);
CREATE UNIQUE INDEX entries_tx_hash ON entries (tx_hash) WHERE tx_hash IS NOT NULL;

-- A refused body whose event id or transaction hash was known with other content.
CREATE TABLE conflicts (
    id            INTEGER NOT NULL PRIMARY KEY,
    event_id      TEXT    NOT NULL,
    first_user_id INTEGER NOT NULL,
    first_version INTEGER NOT NULL,
    second        TEXT    NOT NULL,
    second_digest BLOB    NOT NULL UNIQUE,
    seen_at_us    INTEGER NOT NULL
) STRICT;
