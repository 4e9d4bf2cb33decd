-- A duplicate is answered with the balances at its version. Without this index the newest entry of a rare currency at or
-- before a version is looked for through the user's whole history.
CREATE INDEX entries_user_currency_version ON entries (user_id, currency, version);
