//! The tables.

pub(crate) const MIGRATIONS: &[&str] = &[
    r"
CREATE TABLE category(
  path TEXT PRIMARY KEY, parent TEXT REFERENCES category(path), position INTEGER NOT NULL,
  name_en TEXT NOT NULL, name_fr TEXT NOT NULL, line_en TEXT NOT NULL, line_fr TEXT NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE product(
  seq INTEGER PRIMARY KEY, id TEXT NOT NULL UNIQUE, slug TEXT NOT NULL UNIQUE,
  title_en TEXT NOT NULL, title_fr TEXT NOT NULL,
  subtitle_en TEXT NOT NULL, subtitle_fr TEXT NOT NULL,
  description_en TEXT NOT NULL, description_fr TEXT NOT NULL,
  category TEXT NOT NULL REFERENCES category(path),
  attributes TEXT NOT NULL,
  picture TEXT NOT NULL,
  low_minor INTEGER NOT NULL CHECK (low_minor >= 0),
  badge TEXT CHECK (badge IN ('in','low','out'))
) STRICT;
CREATE INDEX product_category ON product(category, seq);
CREATE INDEX product_low ON product(low_minor, seq);
CREATE INDEX product_badge ON product(badge, seq);

CREATE TABLE variant(
  sku TEXT PRIMARY KEY, product INTEGER NOT NULL REFERENCES product(seq), position INTEGER NOT NULL,
  colour_en TEXT, colour_fr TEXT, size_en TEXT, size_fr TEXT,
  weight_g INTEGER NOT NULL CHECK (weight_g > 0),
  picture TEXT NOT NULL,
  badge TEXT CHECK (badge IN ('in','low','out')),
  badge_at TEXT,
  UNIQUE (product, position)
) STRICT, WITHOUT ROWID;

-- Prices are only ever added. At any instant a sku has at most one in each currency: the open
-- one is unique, and a new one closes it in the same transaction.
CREATE TABLE price(
  sku TEXT NOT NULL REFERENCES variant(sku), version INTEGER NOT NULL CHECK (version > 0),
  currency TEXT NOT NULL CHECK (length(currency) = 3),
  amount_minor INTEGER NOT NULL CHECK (amount_minor > 0),
  valid_from TEXT NOT NULL, valid_to TEXT CHECK (valid_to >= valid_from),
  PRIMARY KEY (sku, version)
) STRICT, WITHOUT ROWID;
CREATE UNIQUE INDEX price_open ON price(sku, currency) WHERE valid_to IS NULL;
CREATE TRIGGER price_is_kept BEFORE DELETE ON price BEGIN SELECT RAISE(ABORT, 'prices are never deleted'); END;
CREATE TRIGGER price_is_fixed BEFORE UPDATE ON price
  WHEN OLD.valid_to IS NOT NULL OR NEW.sku <> OLD.sku OR NEW.version <> OLD.version OR NEW.currency <> OLD.currency
    OR NEW.amount_minor <> OLD.amount_minor OR NEW.valid_from <> OLD.valid_from
  BEGIN SELECT RAISE(ABORT, 'a price is closed once and otherwise never changed'); END;

-- Words of a product in both languages, so that a search need not know which one it is in.
-- Nothing but the index is kept: the rowid is the product's seq.
CREATE VIRTUAL TABLE words USING fts5(
  title, shelf, subtitle, description,
  content='', columnsize=1, prefix='2 3', tokenize='unicode61 remove_diacritics 2'
);
CREATE VIRTUAL TABLE vocabulary USING fts5vocab(words, 'row');
-- Every word of the titles and shelves, cut into threes: what a misspelt word still shares with
-- the word that was meant.
CREATE TABLE term(word TEXT PRIMARY KEY) STRICT;
CREATE VIRTUAL TABLE term_piece USING fts5(word, tokenize='trigram');

CREATE TABLE seeding(
  one INTEGER PRIMARY KEY CHECK (one = 1), profile TEXT NOT NULL, seed INTEGER NOT NULL,
  next INTEGER NOT NULL, total INTEGER NOT NULL
) STRICT;
",
    // What a list without words needs at 100 000 products: its order, and the counts by category
    // within a range of prices, from an index alone.
    r"
CREATE INDEX product_featured ON product((badge IS 'out'), seq);
DROP INDEX product_low;
CREATE INDEX product_low ON product(low_minor, seq, category);
",
];
