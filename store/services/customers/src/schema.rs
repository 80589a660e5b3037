//! The tables.

pub const MIGRATIONS: &[&str] = &["
CREATE TABLE customer(
  id TEXT PRIMARY KEY,
  kind TEXT NOT NULL CHECK(kind IN ('guest', 'member')),
  email TEXT NOT NULL,
  email_key TEXT NOT NULL,   -- in lower case: one account an address
  name TEXT NOT NULL,
  phone TEXT NOT NULL,       -- E.164, or empty
  locale TEXT NOT NULL,
  consent_sms INTEGER NOT NULL DEFAULT 1,
  consent_email INTEGER NOT NULL DEFAULT 1,
  created_at TEXT NOT NULL,
  updated_at TEXT NOT NULL
) WITHOUT ROWID;
CREATE UNIQUE INDEX one_member_an_address ON customer(email_key) WHERE kind = 'member';

CREATE TABLE credential(
  customer_id TEXT PRIMARY KEY REFERENCES customer(id) ON DELETE CASCADE,
  hash TEXT NOT NULL
) WITHOUT ROWID;

-- One sign-in and all the refresh tokens that followed from it.
CREATE TABLE family(
  id TEXT PRIMARY KEY,
  customer_id TEXT NOT NULL REFERENCES customer(id) ON DELETE CASCADE,
  created_at TEXT NOT NULL,
  expires_at TEXT NOT NULL,
  ended_at TEXT,
  ended_why TEXT,
  CHECK((ended_at IS NULL) = (ended_why IS NULL))
) WITHOUT ROWID;
CREATE INDEX family_customer ON family(customer_id, created_at);
CREATE INDEX family_age ON family(expires_at);

-- Tokens that were used stay, so that using one again is noticed.
CREATE TABLE refresh(
  token_hash TEXT PRIMARY KEY,
  family_id TEXT NOT NULL REFERENCES family(id) ON DELETE CASCADE,
  expires_at TEXT NOT NULL,
  used_at TEXT
) WITHOUT ROWID;
CREATE UNIQUE INDEX one_unused_token_a_family ON refresh(family_id) WHERE used_at IS NULL;

CREATE TABLE address(
  id TEXT PRIMARY KEY,
  customer_id TEXT NOT NULL REFERENCES customer(id) ON DELETE CASCADE,
  name TEXT NOT NULL,
  line1 TEXT NOT NULL,
  line2 TEXT NOT NULL,
  postcode TEXT NOT NULL,
  city TEXT NOT NULL,
  country TEXT NOT NULL,
  created_at TEXT NOT NULL,
  UNIQUE(customer_id, name, line1, line2, postcode, city, country)
) WITHOUT ROWID;
"];
