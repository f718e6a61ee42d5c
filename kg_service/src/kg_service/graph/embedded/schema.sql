-- The embedded store's tables. Integer keys keep edges narrow; they live in this file only.

BEGIN IMMEDIATE;

CREATE TABLE IF NOT EXISTS concept (
  concept_key INTEGER PRIMARY KEY,
  cui TEXT NOT NULL UNIQUE,
  name TEXT NOT NULL,
  semantic_types TEXT NOT NULL, -- TUIs, separated by spaces
  source TEXT NOT NULL,
  image_count INTEGER NOT NULL DEFAULT 0 -- images with a present attribute of it; an index would cost a third of the write rate
) STRICT;

CREATE TABLE IF NOT EXISTS is_a (
  child INTEGER NOT NULL REFERENCES concept,
  parent INTEGER NOT NULL REFERENCES concept,
  source TEXT NOT NULL,
  PRIMARY KEY (child, parent)
) STRICT, WITHOUT ROWID;

CREATE TABLE IF NOT EXISTS relation (
  subject INTEGER NOT NULL REFERENCES concept,
  relation TEXT NOT NULL, -- RELA
  target INTEGER NOT NULL REFERENCES concept,
  source TEXT NOT NULL,
  PRIMARY KEY (subject, relation, target)
) STRICT, WITHOUT ROWID;

CREATE TABLE IF NOT EXISTS image (
  image_key INTEGER PRIMARY KEY,
  image_id TEXT NOT NULL UNIQUE,
  caption TEXT NOT NULL,
  caption_sha256 TEXT NOT NULL,
  dataset TEXT,
  split TEXT,
  ingested_at TEXT NOT NULL -- ISO 8601, UTC
) STRICT;

-- A row for each transaction that changed images. A new image's key is above all others, so what was added since a revision
-- is what has a key above its `last_key`, unless images were removed since: then keys may have been given anew.
CREATE TABLE IF NOT EXISTS revision (
  number INTEGER PRIMARY KEY,
  token TEXT NOT NULL, -- random: a restored backup that was written to has another
  last_key INTEGER NOT NULL, -- the highest image_key then
  removed INTEGER NOT NULL -- images that it replaced or deleted
) STRICT;

INSERT INTO revision SELECT 0, hex(randomblob(16)), (SELECT coalesce(max(image_key), 0) FROM image), 0
WHERE NOT EXISTS (SELECT 1 FROM revision);

CREATE TABLE IF NOT EXISTS provenance (
  provenance_key INTEGER PRIMARY KEY,
  linker TEXT NOT NULL,
  rule TEXT NOT NULL,
  assertion TEXT NOT NULL,
  UNIQUE (linker, rule, assertion)
) STRICT;

-- Former versions checked that the assertion is one of three.
ALTER TABLE provenance RENAME TO former_provenance;
CREATE TABLE provenance (
  provenance_key INTEGER PRIMARY KEY,
  linker TEXT NOT NULL,
  rule TEXT NOT NULL,
  assertion TEXT NOT NULL CHECK (assertion IN ('present', 'absent', 'uncertain', 'family', 'history')),
  UNIQUE (linker, rule, assertion)
) STRICT;
INSERT INTO provenance SELECT * FROM former_provenance;
DROP TABLE former_provenance;

-- concept_key and provenance_key are read from their tables in the transaction that writes the row, so they need no check.
CREATE TABLE IF NOT EXISTS attribute (
  image_key INTEGER NOT NULL REFERENCES image ON DELETE CASCADE,
  start INTEGER NOT NULL,
  "end" INTEGER NOT NULL,
  concept_key INTEGER NOT NULL,
  text TEXT NOT NULL,
  score REAL NOT NULL,
  provenance_key INTEGER NOT NULL,
  PRIMARY KEY (image_key, start, "end", concept_key)
) STRICT, WITHOUT ROWID;

PRAGMA application_id = 1312967495;
PRAGMA user_version = 4;

COMMIT;
