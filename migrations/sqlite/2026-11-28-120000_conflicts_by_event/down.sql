CREATE TABLE conflicts_by_body (
    id            INTEGER NOT NULL PRIMARY KEY,
    event_id      TEXT    NOT NULL,
    first_user_id INTEGER NOT NULL,
    first_version INTEGER NOT NULL,
    second        TEXT    NOT NULL,
    second_digest BLOB    NOT NULL UNIQUE,
    seen_at_us    INTEGER NOT NULL
) STRICT;
-- SQLite has no SHA-256, so the body stands for its digest: it is as unique.
INSERT OR IGNORE INTO conflicts_by_body (event_id, first_user_id, first_version, second, second_digest, seen_at_us)
SELECT event_id, first_user_id, first_version, second, CAST(second AS BLOB), seen_at_us FROM conflicts ORDER BY id;
DROP TABLE conflicts;
ALTER TABLE conflicts_by_body RENAME TO conflicts;
