ALTER TABLE balances RESET (fillfactor);
ALTER TABLE accounts RESET (fillfactor);
DROP INDEX accounts_telegram_id;
ALTER TABLE accounts ADD CONSTRAINT accounts_telegram_id_key UNIQUE (telegram_id);
