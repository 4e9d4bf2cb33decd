-- No currency: programs before 0.2, which would not see which event ids are there, refuse to start and show this text.
INSERT INTO currencies (code, decimals) VALUES ('(needs version 0.2 of the program, or later)', 0);
