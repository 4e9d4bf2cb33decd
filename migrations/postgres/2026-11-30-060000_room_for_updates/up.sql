-- Most users have no Telegram id, and need no place in its index.
ALTER TABLE accounts DROP CONSTRAINT accounts_telegram_id_key;
CREATE UNIQUE INDEX accounts_telegram_id ON accounts (telegram_id) WHERE telegram_id IS NOT NULL;
-- Pages that are written from now on keep room, so that an update stays on its page and no index has to follow it.
ALTER TABLE accounts SET (fillfactor = 70);
ALTER TABLE balances SET (fillfactor = 70);
