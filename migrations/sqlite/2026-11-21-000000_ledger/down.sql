DROP TABLE conflicts;
DROP TABLE entries;
DROP TABLE balances;
DROP TABLE accounts;
DROP TABLE currencies;
DROP TABLE ledger_info;
