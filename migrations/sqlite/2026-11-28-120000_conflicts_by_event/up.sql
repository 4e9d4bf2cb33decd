-- One row for each event id and each content that was refused under it, with a count, instead of one for each spelling of
-- the body. Ids begin anew without gaps: rows beyond database.conflicts_max are found by them.
CREATE TABLE conflicts_by_event (
    id               INTEGER NOT NULL PRIMARY KEY,
    event_id         TEXT    NOT NULL,
    user_id          INTEGER NOT NULL,
    kind             TEXT    NOT NULL,
    currency         TEXT    NOT NULL,
    amount           INTEGER NOT NULL,
    count            INTEGER NOT NULL CHECK (count >= 1),
    first_user_id    INTEGER NOT NULL,
    first_version    INTEGER NOT NULL,
    second           TEXT    NOT NULL,
    first_seen_at_us INTEGER NOT NULL,
    seen_at_us       INTEGER NOT NULL
) STRICT;

WITH refusals AS MATERIALIZED (
    -- SQLite does not read JSON that is nested a thousand deep, which metadata could be: such a row stays alone.
    SELECT id, event_id, first_user_id, first_version, second, seen_at_us,
           IIF(json_valid(second), json_extract(second, '$.user_id'), first_user_id) AS user_id,
           IIF(json_valid(second), json_extract(second, '$.kind'), '') AS kind,
           IIF(json_valid(second), json_extract(second, '$.currency'), '') AS currency,
           -- An amount always has all decimals of its currency.
           IIF(json_valid(second), CAST(REPLACE(json_extract(second, '$.amount'), '.', '') AS INTEGER), id) AS amount
    FROM conflicts
)
INSERT INTO conflicts_by_event
    (event_id, user_id, kind, currency, amount, count, first_user_id, first_version, second, first_seen_at_us, seen_at_us)
SELECT event_id, user_id, kind, currency, amount, same.count, first_user_id, first_version, second, same.first_seen, same.last_seen
FROM (SELECT MIN(id) AS id, COUNT(*) AS count, MIN(seen_at_us) AS first_seen, MAX(seen_at_us) AS last_seen
      FROM refusals GROUP BY event_id, user_id, kind, currency, amount) AS same
JOIN refusals USING (id)
ORDER BY id;

DROP TABLE conflicts;
ALTER TABLE conflicts_by_event RENAME TO conflicts;
CREATE UNIQUE INDEX conflicts_refused ON conflicts (event_id, user_id, kind, currency, amount);
CREATE INDEX conflicts_seen_at ON conflicts (seen_at_us, id);
