DROP INDEX conflicts_refused;
DROP INDEX conflicts_seen_at;
ALTER TABLE conflicts ADD COLUMN second_digest BYTEA;
UPDATE conflicts SET second_digest = sha256(convert_to(second, 'UTF8'));
-- The same body may have been refused under several event ids.
DELETE FROM conflicts AS later USING conflicts AS earlier
WHERE later.second_digest = earlier.second_digest AND later.id > earlier.id;
ALTER TABLE conflicts
    ALTER COLUMN second_digest SET NOT NULL,
    ADD UNIQUE (second_digest),
    DROP COLUMN user_id,
    DROP COLUMN kind,
    DROP COLUMN currency,
    DROP COLUMN amount,
    DROP COLUMN count,
    DROP COLUMN first_seen_at_us;
