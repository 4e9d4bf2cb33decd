CREATE TABLE ledger_info (
    id            BIGINT NOT NULL PRIMARY KEY CHECK (id = 1),
    epoch         TEXT    NOT NULL,
    created_at_us BIGINT NOT NULL
);

-- The scale of every amount in this ledger; the service refuses to start when its settings differ.
CREATE TABLE currencies (
    code     TEXT    NOT NULL PRIMARY KEY,
    decimals BIGINT NOT NULL
);

CREATE TABLE accounts (
    user_id       BIGINT NOT NULL PRIMARY KEY,
    version       BIGINT NOT NULL CHECK (version >= 0),
    telegram_id   BIGINT UNIQUE,
    created_at_us BIGINT NOT NULL,
    updated_at_us BIGINT NOT NULL
);

CREATE TABLE balances (
    user_id  BIGINT NOT NULL,
    currency TEXT    NOT NULL,
    amount   BIGINT NOT NULL CHECK (amount >= 0),
    PRIMARY KEY (user_id, currency)
);

CREATE TABLE entries (
    id              BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    user_id         BIGINT NOT NULL,
    version         BIGINT NOT NULL CHECK (version >= 1),
    kind            TEXT    NOT NULL,
    source          TEXT    NOT NULL,
    currency        TEXT    NOT NULL,
    amount          BIGINT NOT NULL CHECK (amount <> 0),
    balance_after   BIGINT NOT NULL CHECK (balance_after >= 0),
    event_id        TEXT    NOT NULL,
    tx_hash         BYTEA,
    tx_lt           TEXT,
    tx_account      TEXT,
    reason          TEXT,
    metadata        TEXT,
    occurred_at_us  BIGINT,
    committed_at_us BIGINT NOT NULL
);
CREATE UNIQUE INDEX entries_event_id ON entries (event_id);
CREATE UNIQUE INDEX entries_user_version ON entries (user_id, version);
CREATE UNIQUE INDEX entries_tx_hash ON entries (tx_hash) WHERE tx_hash IS NOT NULL;

-- A refused body whose event id or transaction hash was known with other content.
CREATE TABLE conflicts (
    id            BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    event_id      TEXT    NOT NULL,
    first_user_id BIGINT NOT NULL,
    first_version BIGINT NOT NULL,
    second        TEXT    NOT NULL,
    second_digest BYTEA   NOT NULL UNIQUE,
    seen_at_us    BIGINT NOT NULL
);
