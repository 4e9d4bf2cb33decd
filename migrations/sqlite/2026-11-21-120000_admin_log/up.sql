-- What administrators have ordered, written before it is done.
CREATE TABLE admin_log (
    id        INTEGER NOT NULL PRIMARY KEY,
    -- Made with the order, so that writing it again after a lost connection is harmless.
    action_id TEXT    NOT NULL UNIQUE,
    at_us     INTEGER NOT NULL,
    admin     TEXT    NOT NULL,
    action    TEXT    NOT NULL,
    user_id   INTEGER NOT NULL
) STRICT;
