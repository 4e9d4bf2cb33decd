-- What administrators have ordered, written before it is done.
CREATE TABLE admin_log (
    id        BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    -- Made with the order, so that writing it again after a lost connection is harmless.
    action_id TEXT    NOT NULL UNIQUE,
    at_us     BIGINT NOT NULL,
    admin     TEXT    NOT NULL,
    action    TEXT    NOT NULL,
    user_id   BIGINT NOT NULL
);
