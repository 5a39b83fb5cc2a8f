-- Views of the ledger: keys for external account binding with the accounts
-- they became, and which order a certificate was for. hosts is a list with
-- single spaces between its items.

CREATE TABLE acme_key (
    id           TEXT PRIMARY KEY,
    seq          BIGINT NOT NULL,
    name         TEXT NOT NULL REFERENCES identity (name),
    profile      TEXT NOT NULL,
    hosts        TEXT NOT NULL,
    created_at   BIGINT NOT NULL,
    expires_at   BIGINT NOT NULL,
    thumbprint   BYTEA,
    bound_at     BIGINT,
    cancelled_at BIGINT
);

CREATE INDEX acme_key_name ON acme_key (name);

CREATE TABLE acme_certificate (
    order_id  TEXT PRIMARY KEY,
    seq       BIGINT NOT NULL,
    account   TEXT NOT NULL,
    tbs       BYTEA NOT NULL,
    issued_at BIGINT NOT NULL
);

CREATE INDEX acme_certificate_tbs ON acme_certificate (tbs);

-- No view, and nothing in it is trusted by the authority: what the ACME server
-- has to remember of accounts, orders and authorizations. A record is changed
-- only by who names the version that they read. lookup is what it is found by
-- beside its id; '' for nothing.
CREATE TABLE acme_state (
    kind       TEXT NOT NULL,
    id         TEXT NOT NULL,
    owner      TEXT NOT NULL,
    lookup     TEXT NOT NULL,
    version    BIGINT NOT NULL,
    created_at BIGINT NOT NULL,
    expires_at BIGINT NOT NULL,
    body       BYTEA NOT NULL,
    PRIMARY KEY (kind, id)
);

CREATE INDEX acme_state_owner ON acme_state (kind, owner, created_at);
CREATE INDEX acme_state_expires ON acme_state (expires_at);
CREATE UNIQUE INDEX acme_state_lookup ON acme_state (kind, lookup) WHERE lookup <> '';
