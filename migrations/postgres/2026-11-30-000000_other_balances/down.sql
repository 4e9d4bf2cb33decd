ALTER TABLE entries DROP COLUMN other_balances;
