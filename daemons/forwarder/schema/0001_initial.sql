-- The forwarder's journal, version 1.
-- Times are UTC seconds since 1970. Paths are bytes, because names need not be UTF-8.

-- One row per version of a file.
CREATE TABLE files (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    revision INTEGER NOT NULL DEFAULT 1,
    path BLOB NOT NULL,
    location BLOB NOT NULL,
    device INTEGER NOT NULL,
    inode INTEGER NOT NULL,
    size_bytes INTEGER NOT NULL,
    ctime_ns INTEGER NOT NULL,
    kind TEXT NOT NULL CHECK (kind IN ('image', 'attachment')),
    state TEXT NOT NULL CHECK (state IN ('discovered', 'inspected', 'stored', 'announced',
        'registered', 'released', 'quarantined', 'conflicted', 'failed')),
    seen_at REAL NOT NULL,
    changed_at REAL NOT NULL,
    witnessed INTEGER NOT NULL DEFAULT 0,
    reason TEXT,
    detail TEXT,
    sha256 TEXT,
    crc64nvme TEXT,
    instrument TEXT,
    obs_id TEXT,
    exposure_id INTEGER,
    day_obs INTEGER,
    seq_num INTEGER,
    detector INTEGER,
    detector_name TEXT,
    image_kind TEXT,
    dataset_type TEXT,
    run TEXT,
    dataset_id TEXT,
    object_key TEXT,
    stored_at REAL,
    findings TEXT NOT NULL DEFAULT '[]',
    waived TEXT NOT NULL DEFAULT '[]',
    quarantine_path BLOB,
    outbox_sequence INTEGER,
    announcements INTEGER NOT NULL DEFAULT 0,
    announced_at REAL
) STRICT;

CREATE INDEX files_path ON files (path, id);
CREATE INDEX files_dataset ON files (dataset_id) WHERE dataset_id IS NOT NULL;
CREATE INDEX files_outbox ON files (outbox_sequence) WHERE outbox_sequence IS NOT NULL;
CREATE INDEX files_exposure ON files (instrument, obs_id) WHERE obs_id IS NOT NULL;
CREATE INDEX files_waiting ON files (id) WHERE state IN ('discovered', 'inspected');
CREATE INDEX files_oldest ON files (seen_at) WHERE state IN ('discovered', 'inspected');
CREATE INDEX files_announced ON files (announced_at) WHERE state = 'announced';
CREATE INDEX files_aside ON files (changed_at) WHERE state IN ('quarantined', 'conflicted', 'failed');

-- How many files, and of how many bytes, are in each state; kept by the triggers below.
CREATE TABLE tallies (
    kind TEXT NOT NULL,
    state TEXT NOT NULL,
    files INTEGER NOT NULL,
    size_bytes INTEGER NOT NULL,
    PRIMARY KEY (kind, state)
) STRICT, WITHOUT ROWID;

CREATE TRIGGER files_added AFTER INSERT ON files BEGIN
    INSERT INTO tallies VALUES (new.kind, new.state, 1, new.size_bytes)
    ON CONFLICT DO UPDATE SET files = files + 1, size_bytes = size_bytes + new.size_bytes;
END;

CREATE TRIGGER files_removed AFTER DELETE ON files BEGIN
    UPDATE tallies SET files = files - 1, size_bytes = size_bytes - old.size_bytes
    WHERE kind = old.kind AND state = old.state;
END;

CREATE TRIGGER files_moved AFTER UPDATE OF state, size_bytes ON files BEGIN
    UPDATE tallies SET files = files - 1, size_bytes = size_bytes - old.size_bytes
    WHERE kind = old.kind AND state = old.state;
    INSERT INTO tallies VALUES (new.kind, new.state, 1, new.size_bytes)
    ON CONFLICT DO UPDATE SET files = files + 1, size_bytes = size_bytes + new.size_bytes;
END;

-- What is to be announced. `sequence` is the position in this host's stream; no number is used twice.
CREATE TABLE outbox (
    sequence INTEGER PRIMARY KEY AUTOINCREMENT,
    event_id TEXT NOT NULL UNIQUE,
    event_type TEXT NOT NULL,
    event BLOB NOT NULL,
    created_at REAL NOT NULL,
    published_at REAL,
    refused TEXT
) STRICT;

CREATE INDEX outbox_pending ON outbox (sequence) WHERE published_at IS NULL AND refused IS NULL;

-- Exposures that images of this host belong to.
CREATE TABLE exposures (
    instrument TEXT NOT NULL,
    obs_id TEXT NOT NULL,
    exposure_id INTEGER NOT NULL,
    day_obs INTEGER NOT NULL,
    seq_num INTEGER NOT NULL,
    first_seen_at REAL NOT NULL,
    expected TEXT,
    completed_at REAL,
    PRIMARY KEY (instrument, obs_id)
) STRICT, WITHOUT ROWID;

CREATE INDEX exposures_recent ON exposures (first_seen_at);
CREATE INDEX exposures_obs ON exposures (obs_id);

-- What operators decided.
CREATE TABLE decisions (
    id INTEGER PRIMARY KEY,
    file_id INTEGER NOT NULL,
    at REAL NOT NULL,
    who TEXT NOT NULL,
    decision TEXT NOT NULL CHECK (decision IN ('release', 'reject')),
    waived TEXT NOT NULL,
    why TEXT NOT NULL
) STRICT;
