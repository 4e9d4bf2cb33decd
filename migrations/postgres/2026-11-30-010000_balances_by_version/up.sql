-- Each entry has all balances now, and is found by user and version.
DROP INDEX entries_user_currency_version;
-- What a node of an earlier version, or a person, writes without naming the column: its balances have to be looked for in
-- the user's history.
ALTER TABLE entries ALTER COLUMN other_balances SET DEFAULT '?';
