ALTER TABLE entries ALTER COLUMN other_balances DROP DEFAULT;
CREATE INDEX entries_user_currency_version ON entries (user_id, currency, version);
