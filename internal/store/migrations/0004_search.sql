-- What certificates are looked for by. A page of any of these is read along an
-- index, in the order in which it is shown.

CREATE INDEX certificate_key ON certificate (key_hash, seq);
CREATE INDEX certificate_issuer ON certificate (issuer, seq);
CREATE INDEX certificate_via ON certificate (via, seq);
CREATE INDEX certificate_ends ON certificate (not_after, seq);
CREATE INDEX certificate_revoked ON certificate (seq) WHERE revoked_at IS NOT NULL;

-- The host names and addresses of certificates, one a row.
CREATE TABLE certificate_host (
    host        TEXT NOT NULL,
    certificate BIGINT NOT NULL REFERENCES certificate (seq),
    PRIMARY KEY (host, certificate)
);
