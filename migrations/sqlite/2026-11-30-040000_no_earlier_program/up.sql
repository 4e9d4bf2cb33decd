-- No currency: programs before 0.2, which would not see which event ids are there, refuse to start and show this text. A ledger
-- of theirs gets it before anything else is changed.
INSERT OR IGNORE INTO currencies (code, decimals) VALUES ('(needs version 0.2 of the program, or later)', 0);
