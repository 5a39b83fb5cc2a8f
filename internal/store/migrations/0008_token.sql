-- App tokens: a view. token is the hash of one.

CREATE TABLE token (
    token      BYTEA PRIMARY KEY,
    seq        BIGINT NOT NULL,
    name       TEXT NOT NULL REFERENCES identity (name),
    site       TEXT NOT NULL,
    created_at BIGINT NOT NULL,
    expires_at BIGINT NOT NULL,
    revoked_at BIGINT
);

CREATE INDEX token_name ON token (name);
