-- When an issuer came into use after it was staged, and when its key was
-- given up. Null where that has not happened.

ALTER TABLE issuer ADD COLUMN activated_at BIGINT;
ALTER TABLE issuer ADD COLUMN retired_at BIGINT;
