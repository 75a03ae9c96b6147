-- A row's place in the table is the order of insertion: among tasks submitted in the same millisecond it decides.
CREATE TABLE task (
  seq INTEGER PRIMARY KEY,
  id TEXT NOT NULL UNIQUE,
  account TEXT NOT NULL,
  key_id TEXT NOT NULL,
  request_id TEXT NOT NULL,
  workspace TEXT,
  region TEXT NOT NULL,
  model TEXT NOT NULL,
  engine TEXT NOT NULL,
  job BLOB NOT NULL,      -- JSON, model and engine included
  flaw BLOB,              -- JSON
  state TEXT NOT NULL,
  submitted_at INTEGER NOT NULL,
  scheduled_at INTEGER,
  ended_at INTEGER,
  attempt INTEGER NOT NULL,
  charged INTEGER NOT NULL,
  worker TEXT,
  lease_until INTEGER,
  phase TEXT NOT NULL,
  progress REAL NOT NULL,
  outcome BLOB            -- JSON
) STRICT;

-- claim
CREATE INDEX task_waiting ON task (engine, submitted_at, seq) WHERE state IN ('PENDING', 'REQUEUED');
-- lost leases and stuck tasks
CREATE INDEX task_unfinished ON task (lease_until) WHERE state IN ('RUNNING', 'REQUEUED');
-- list
CREATE INDEX task_listed ON task (account, submitted_at, seq);
-- forget
CREATE INDEX task_ended ON task (ended_at) WHERE ended_at IS NOT NULL;

-- How many tasks are in each state: counting a million rows takes too long to do it whenever someone asks.
CREATE TABLE tally (
  state TEXT PRIMARY KEY,
  tasks INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TRIGGER tally_insert AFTER INSERT ON task BEGIN
  INSERT INTO tally VALUES (NEW.state, 1) ON CONFLICT DO UPDATE SET tasks = tasks + 1;
END;

CREATE TRIGGER tally_update AFTER UPDATE OF state ON task WHEN OLD.state <> NEW.state BEGIN
  UPDATE tally SET tasks = tasks - 1 WHERE state = OLD.state;
  INSERT INTO tally VALUES (NEW.state, 1) ON CONFLICT DO UPDATE SET tasks = tasks + 1;
END;

CREATE TRIGGER tally_delete AFTER DELETE ON task BEGIN
  UPDATE tally SET tasks = tasks - 1 WHERE state = OLD.state;
END;

CREATE TABLE key (
  seq INTEGER PRIMARY KEY,
  id TEXT NOT NULL UNIQUE,
  account TEXT NOT NULL,
  digest TEXT NOT NULL UNIQUE,
  hint TEXT NOT NULL,
  created_at INTEGER NOT NULL,
  revoked_at INTEGER
) STRICT;

CREATE TABLE upload (
  seq INTEGER PRIMARY KEY,
  key TEXT NOT NULL UNIQUE,
  blob TEXT NOT NULL,
  account TEXT NOT NULL,
  model TEXT NOT NULL,
  size INTEGER NOT NULL,
  created_at INTEGER NOT NULL
) STRICT;

CREATE INDEX upload_created ON upload (created_at);

-- One row that is written and read back to see whether that still works.
CREATE TABLE probe (
  id INTEGER PRIMARY KEY,
  times INTEGER NOT NULL
) STRICT;

INSERT INTO probe VALUES (1, 0);
