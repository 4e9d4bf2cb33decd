-- The processes that use this ledger, each with one row that it renews every two seconds. Times are the server's, in
-- microseconds since the Unix epoch. SQLite's file has one process.
CREATE TABLE nodes (
    -- Of one start of a process.
    boot          TEXT    PRIMARY KEY,
    -- Its name for people (cluster.node).
    node          TEXT    NOT NULL,
    build         TEXT    NOT NULL,
    -- Whether it tells others of its commits.
    has_bus       BOOLEAN NOT NULL,
    sessions      BIGINT  NOT NULL,
    started_at_us BIGINT  NOT NULL,
    seen_at_us    BIGINT  NOT NULL
);
