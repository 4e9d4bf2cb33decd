-- Each entry has all balances now, and is found by user and version.
DROP INDEX entries_user_currency_version;
DROP TABLE filling;
