-- The user's balances in all other currencies after the entry, so that one row holds all balances at a version: a JSON
-- object of codes and minor units, in the order of codes, without zeros; NULL when all are zero. The service fills in the
-- entries of earlier versions before the next migration.
ALTER TABLE entries ADD COLUMN other_balances TEXT;
