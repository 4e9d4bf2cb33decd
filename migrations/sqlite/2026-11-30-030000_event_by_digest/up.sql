-- Rows that were written by hand have none at first, and come first in this index. The service adds their digests before it
-- decides anything.
DROP INDEX entries_event_id;
CREATE UNIQUE INDEX entries_event_id ON entries (event_digest);
