-- Version 2: newest exposure first, deadlines, and what operators set while the service runs.

-- When the exposure that a file belongs to by its name began to appear; its own time where the name tells none.
ALTER TABLE files ADD COLUMN exposure_at REAL NOT NULL DEFAULT 0;
-- Class of its detector: smaller goes first within an exposure.
ALTER TABLE files ADD COLUMN rank INTEGER NOT NULL DEFAULT 0;

UPDATE files SET exposure_at = seen_at WHERE state IN ('discovered', 'inspected');

DROP INDEX files_waiting;
CREATE INDEX files_newest ON files (exposure_at DESC, rank, id) WHERE state IN ('discovered', 'inspected');
CREATE INDEX files_longest ON files (exposure_at, rank, id) WHERE state IN ('discovered', 'inspected');

-- Exposures by the names of their files, known before any of them was read.
CREATE TABLE arrivals (
    obs_id TEXT PRIMARY KEY,
    first_seen_at REAL NOT NULL
) STRICT, WITHOUT ROWID;

CREATE INDEX arrivals_recent ON arrivals (first_seen_at);

-- How late an exposure is: 0 in time, 1 warned of, 2 late, 3 nothing more is to be said.
ALTER TABLE exposures ADD COLUMN lateness INTEGER NOT NULL DEFAULT 0;
UPDATE exposures SET lateness = 3;
CREATE INDEX exposures_open ON exposures (first_seen_at) WHERE completed_at IS NULL AND lateness < 3;

-- Codes of findings for which an exposure is held back, as a JSON list, until a person decides.
ALTER TABLE exposures ADD COLUMN held TEXT;
ALTER TABLE exposures ADD COLUMN held_at REAL;
CREATE INDEX exposures_held ON exposures (first_seen_at) WHERE held IS NOT NULL;

-- What operators set: mode, concurrency, bandwidth. It outlasts a restart.
CREATE TABLE controls (
    name TEXT PRIMARY KEY,
    value TEXT NOT NULL,
    who TEXT NOT NULL,
    why TEXT NOT NULL,
    at REAL NOT NULL
) STRICT, WITHOUT ROWID;

-- Decisions may be to try again, too.
CREATE TABLE decisions_2 (
    id INTEGER PRIMARY KEY,
    file_id INTEGER NOT NULL,
    at REAL NOT NULL,
    who TEXT NOT NULL,
    decision TEXT NOT NULL CHECK (decision IN ('release', 'reject', 'requeue', 'announce')),
    waived TEXT NOT NULL,
    why TEXT NOT NULL
) STRICT;
INSERT INTO decisions_2 SELECT * FROM decisions;
DROP TABLE decisions;
ALTER TABLE decisions_2 RENAME TO decisions;

-- One row per file and destination besides the first one.
CREATE TABLE copies (
    file_id INTEGER NOT NULL,
    store TEXT NOT NULL,
    state TEXT NOT NULL CHECK (state IN ('waiting', 'stored', 'conflicted', 'failed')),
    exposure_at REAL NOT NULL,
    changed_at REAL NOT NULL,
    reason TEXT,
    detail TEXT,
    PRIMARY KEY (file_id, store)
) STRICT, WITHOUT ROWID;

CREATE INDEX copies_next ON copies (store, exposure_at DESC, file_id) WHERE state = 'waiting';
CREATE INDEX copies_aside ON copies (store, changed_at) WHERE state IN ('conflicted', 'failed');

-- Places in the outbox of those who read it besides the event stream.
CREATE TABLE cursors (
    name TEXT PRIMARY KEY,
    sequence INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

-- Uploads in parts that were begun and not ended; the store knows which parts it has.
CREATE TABLE uploads (
    store TEXT NOT NULL,
    key TEXT NOT NULL,
    upload_id TEXT NOT NULL,
    part_bytes INTEGER NOT NULL,
    size_bytes INTEGER NOT NULL,
    sha256 TEXT NOT NULL,
    PRIMARY KEY (store, key)
) STRICT, WITHOUT ROWID;

-- What may be forgotten, found without looking at the rest.
CREATE INDEX files_ended ON files (changed_at, id) WHERE state IN ('registered', 'released', 'failed');
CREATE INDEX files_attached ON files (changed_at, id) WHERE kind = 'attachment' AND state = 'stored';
CREATE INDEX files_unanswered ON files (changed_at, id) WHERE state = 'announced';
CREATE INDEX outbox_published ON outbox (published_at) WHERE published_at IS NOT NULL;

-- What was set aside, newest first.
DROP INDEX files_aside;
CREATE INDEX files_aside ON files (id) WHERE state IN ('quarantined', 'conflicted', 'failed');
