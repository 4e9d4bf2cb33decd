DELETE FROM currencies WHERE code = '(needs version 0.2 of the program, or later)';
