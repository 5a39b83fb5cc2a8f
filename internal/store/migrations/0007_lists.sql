-- Lists of names with how many good certificates each has, of certificates whose
-- holders are suspended, and what issuers have in use, are read along these.

DROP INDEX certificate_name;
CREATE INDEX certificate_name ON certificate (name, not_after, revoked_at);
CREATE INDEX certificate_in_use ON certificate (issuer, not_after, revoked_at);
CREATE INDEX identity_suspended ON identity (name) WHERE suspended_at IS NOT NULL;
