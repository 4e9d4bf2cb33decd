DROP INDEX entries_event_id;
CREATE UNIQUE INDEX entries_event_id ON entries (event_id);
