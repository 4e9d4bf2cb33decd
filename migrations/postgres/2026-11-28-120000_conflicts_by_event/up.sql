-- One row for each event id and each content that was refused under it, with a count, instead of one for each spelling of
-- the body. Ids begin anew without gaps: rows beyond database.conflicts_max are found by them.
CREATE TEMPORARY TABLE refusals ON COMMIT DROP AS
SELECT id, event_id, first_user_id, first_version, second, seen_at_us,
       (body ->> 'user_id')::BIGINT AS user_id,
       body ->> 'kind' AS kind,
       body ->> 'currency' AS currency,
       -- An amount always has all decimals of its currency.
       REPLACE(body ->> 'amount', '.', '')::BIGINT AS amount
FROM (SELECT *, second::JSON AS body FROM conflicts) AS parsed;

TRUNCATE conflicts RESTART IDENTITY;
ALTER TABLE conflicts
    DROP COLUMN second_digest,
    ADD COLUMN user_id          BIGINT NOT NULL,
    ADD COLUMN kind             TEXT   NOT NULL,
    ADD COLUMN currency         TEXT   NOT NULL,
    ADD COLUMN amount           BIGINT NOT NULL,
    ADD COLUMN count            BIGINT NOT NULL CHECK (count >= 1),
    ADD COLUMN first_seen_at_us BIGINT NOT NULL;

INSERT INTO conflicts
    (event_id, user_id, kind, currency, amount, count, first_user_id, first_version, second, first_seen_at_us, seen_at_us)
SELECT event_id, user_id, kind, currency, amount, same.count, first_user_id, first_version, second, same.first_seen, same.last_seen
FROM (SELECT MIN(id) AS id, COUNT(*) AS count, MIN(seen_at_us) AS first_seen, MAX(seen_at_us) AS last_seen
      FROM refusals GROUP BY event_id, user_id, kind, currency, amount) AS same
JOIN refusals USING (id)
ORDER BY id;

CREATE UNIQUE INDEX conflicts_refused ON conflicts (event_id, user_id, kind, currency, amount);
CREATE INDEX conflicts_seen_at ON conflicts (seen_at_us, id);
