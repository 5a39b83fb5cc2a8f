-- The record. Everything below it is a view that can be made again from it.

CREATE TABLE ledger_entry (
    seq  BIGINT PRIMARY KEY,
    data BYTEA NOT NULL
);

-- The nodes of the Merkle tree in the order in which appending makes them.
CREATE TABLE ledger_node (
    idx  BIGINT PRIMARY KEY,
    hash BYTEA NOT NULL
);

-- One row. root and note are null while the ledger is empty.
CREATE TABLE ledger_head (
    id    BIGINT PRIMARY KEY,
    epoch BIGINT NOT NULL,
    size  BIGINT NOT NULL,
    root  BYTEA,
    note  BYTEA
);

INSERT INTO ledger_head (id, epoch, size) VALUES (1, 0, 0);

-- The views. seq is the entry that made the row; times are milliseconds since
-- 1970, null where the thing has not happened.

CREATE TABLE issuer (
    seq           BIGINT PRIMARY KEY,
    name          TEXT NOT NULL UNIQUE,
    key_id        BYTEA NOT NULL UNIQUE,
    purpose       BIGINT NOT NULL,
    certificate   BYTEA NOT NULL,
    added_at      BIGINT NOT NULL,
    distrusted_at BIGINT,
    reason        BIGINT
);

CREATE TABLE identity (
    name         TEXT PRIMARY KEY,
    seq          BIGINT NOT NULL,
    created_at   BIGINT NOT NULL,
    suspended_at BIGINT
);

CREATE TABLE membership (
    group_name TEXT NOT NULL,
    name       TEXT NOT NULL REFERENCES identity (name),
    joined_at  BIGINT NOT NULL,
    left_at    BIGINT,
    PRIMARY KEY (group_name, name)
);

CREATE INDEX membership_name ON membership (name);

-- code is the SHA-256 of the code; group_name is '' for no group.
CREATE TABLE invite (
    code         BYTEA PRIMARY KEY,
    seq          BIGINT NOT NULL,
    name         TEXT NOT NULL REFERENCES identity (name),
    profile      TEXT NOT NULL,
    group_name   TEXT NOT NULL,
    created_at   BIGINT NOT NULL,
    expires_at   BIGINT NOT NULL,
    used_at      BIGINT,
    cancelled_at BIGINT,
    key_hash     BYTEA,
    tbs          BYTEA
);

CREATE INDEX invite_name ON invite (name);
CREATE INDEX invite_group ON invite (group_name);

-- dns and ips are lists with single spaces between their items.
CREATE TABLE certificate (
    seq          BIGINT PRIMARY KEY,
    issuer       BIGINT NOT NULL REFERENCES issuer (seq),
    serial       BYTEA NOT NULL,
    tbs          BYTEA NOT NULL,
    name         TEXT NOT NULL REFERENCES identity (name),
    profile      TEXT NOT NULL,
    key_hash     BYTEA NOT NULL,
    not_before   BIGINT NOT NULL,
    not_after    BIGINT NOT NULL,
    renewed_from BIGINT REFERENCES certificate (seq),
    dns          TEXT NOT NULL,
    ips          TEXT NOT NULL,
    via          TEXT NOT NULL,
    issued_at    BIGINT NOT NULL,
    revoked_at   BIGINT,
    reason       BIGINT,
    UNIQUE (serial, issuer)
);

CREATE INDEX certificate_name ON certificate (name);
CREATE INDEX certificate_renewed_from ON certificate (renewed_from) WHERE renewed_from IS NOT NULL;

-- No view: what was signed, so that a lost answer can be given again. Nothing
-- in it is believed without its hash. raw is the to-be-signed part until der,
-- the whole certificate, is known.
CREATE TABLE certificate_copy (
    tbs BYTEA PRIMARY KEY,
    raw BYTEA,
    der BYTEA
);
