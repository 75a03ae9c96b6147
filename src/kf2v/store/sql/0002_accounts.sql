-- What stands around the video: rights of keys, fair turns, bills, news, and words that count once.

ALTER TABLE task ADD COLUMN priority INTEGER NOT NULL DEFAULT 0;
ALTER TABLE task ADD COLUMN callback TEXT;
ALTER TABLE task ADD COLUMN kept INTEGER NOT NULL DEFAULT FALSE;

-- claim: the first of each line
DROP INDEX task_waiting;
CREATE INDEX task_waiting ON task (engine, account, model, priority DESC, submitted_at, seq)
  WHERE state IN ('PENDING', 'REQUEUED');

-- How much of what waits and runs. Kept like the tally, and for the same reason.
CREATE TABLE line (
  account TEXT NOT NULL,
  model TEXT NOT NULL,
  engine TEXT NOT NULL,
  waiting INTEGER NOT NULL,
  running INTEGER NOT NULL,
  PRIMARY KEY (account, model, engine)
) STRICT, WITHOUT ROWID;

INSERT INTO line
SELECT account, model, engine, sum(state <> 'RUNNING'), sum(state = 'RUNNING') FROM task
WHERE state IN ('PENDING', 'REQUEUED', 'RUNNING') GROUP BY account, model, engine;

CREATE TRIGGER line_insert AFTER INSERT ON task WHEN NEW.state IN ('PENDING', 'REQUEUED', 'RUNNING') BEGIN
  INSERT INTO line VALUES (NEW.account, NEW.model, NEW.engine, NEW.state <> 'RUNNING', NEW.state = 'RUNNING')
  ON CONFLICT DO UPDATE SET waiting = waiting + excluded.waiting, running = running + excluded.running;
END;

CREATE TRIGGER line_leave AFTER UPDATE OF state, engine ON task
WHEN OLD.state IN ('PENDING', 'REQUEUED', 'RUNNING') AND (OLD.state <> NEW.state OR OLD.engine <> NEW.engine) BEGIN
  UPDATE line SET waiting = waiting - (OLD.state <> 'RUNNING'), running = running - (OLD.state = 'RUNNING')
  WHERE account = OLD.account AND model = OLD.model AND engine = OLD.engine;
  INSERT INTO line
  SELECT NEW.account, NEW.model, NEW.engine, NEW.state <> 'RUNNING', NEW.state = 'RUNNING'
  WHERE NEW.state IN ('PENDING', 'REQUEUED', 'RUNNING')
  ON CONFLICT DO UPDATE SET waiting = waiting + excluded.waiting, running = running + excluded.running;
  DELETE FROM line
  WHERE account = OLD.account AND model = OLD.model AND engine = OLD.engine AND waiting = 0 AND running = 0;
END;

-- When each account was served, in claims.
CREATE TABLE turn (
  account TEXT PRIMARY KEY,
  served INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

CREATE INDEX turn_served ON turn (served);

-- What was submitted under an Idempotency-Key.
CREATE TABLE once (
  account TEXT NOT NULL,
  key TEXT NOT NULL,
  digest TEXT NOT NULL,
  task_id TEXT NOT NULL,
  said_at INTEGER NOT NULL,
  PRIMARY KEY (account, key)
) STRICT, WITHOUT ROWID;

CREATE INDEX once_said ON once (said_at);

CREATE TABLE note (
  seq INTEGER PRIMARY KEY,
  task_id TEXT NOT NULL,
  at INTEGER NOT NULL,
  text TEXT NOT NULL
) STRICT;

CREATE INDEX note_of ON note (task_id, seq);

CREATE TRIGGER note_delete AFTER DELETE ON task BEGIN
  DELETE FROM note WHERE task_id = OLD.id;
END;

ALTER TABLE key ADD COLUMN label TEXT NOT NULL DEFAULT '';
ALTER TABLE key ADD COLUMN rights BLOB NOT NULL DEFAULT x'7b7d';  -- JSON, {}
ALTER TABLE key ADD COLUMN expires_at INTEGER;
ALTER TABLE key ADD COLUMN disabled_at INTEGER;
ALTER TABLE key ADD COLUMN used_at INTEGER;

CREATE TABLE workspace (
  seq INTEGER PRIMARY KEY,
  id TEXT NOT NULL UNIQUE,
  account TEXT NOT NULL,
  label TEXT NOT NULL,
  models BLOB NOT NULL,    -- JSON
  created_at INTEGER NOT NULL
) STRICT;

CREATE TABLE webhook (
  seq INTEGER PRIMARY KEY,
  id TEXT NOT NULL UNIQUE,
  account TEXT NOT NULL,
  url TEXT NOT NULL,
  secret TEXT NOT NULL,
  label TEXT NOT NULL,
  created_at INTEGER NOT NULL,
  disabled_at INTEGER
) STRICT;

CREATE INDEX webhook_of ON webhook (account, created_at, seq);

-- The outbox.
CREATE TABLE delivery (
  seq INTEGER PRIMARY KEY,
  id TEXT NOT NULL UNIQUE,
  account TEXT NOT NULL,
  task_id TEXT NOT NULL,
  webhook_id TEXT,
  url TEXT NOT NULL,
  news BLOB NOT NULL,      -- JSON
  created_at INTEGER NOT NULL,
  due_at INTEGER NOT NULL,
  attempts INTEGER NOT NULL,
  delivered_at INTEGER,
  abandoned_at INTEGER,
  status INTEGER,
  error TEXT NOT NULL
) STRICT;

CREATE INDEX delivery_due ON delivery (due_at, seq) WHERE delivered_at IS NULL AND abandoned_at IS NULL;
CREATE INDEX delivery_of ON delivery (account, created_at, seq);
CREATE INDEX delivery_old ON delivery (created_at) WHERE delivered_at IS NOT NULL OR abandoned_at IS NOT NULL;

CREATE TABLE charge (
  seq INTEGER PRIMARY KEY,
  task_id TEXT NOT NULL UNIQUE,
  account TEXT NOT NULL,
  key_id TEXT NOT NULL,
  workspace TEXT,
  region TEXT NOT NULL,
  model TEXT NOT NULL,
  engine TEXT NOT NULL,
  resolution TEXT NOT NULL,
  videos INTEGER NOT NULL,
  seconds INTEGER NOT NULL,
  booked_at INTEGER NOT NULL,
  ran INTEGER NOT NULL
) STRICT;

CREATE INDEX charge_of ON charge (account, booked_at);
CREATE INDEX charge_when ON charge (booked_at);
CREATE INDEX charge_ran ON charge (engine, resolution, booked_at, seq);

-- What was made before there were charges, as far as it is still remembered.
INSERT INTO charge (
  task_id, account, key_id, workspace, region, model, engine, resolution, videos, seconds, booked_at, ran
)
SELECT
  id, account, key_id, workspace, region, model, engine, json_extract(CAST(job AS TEXT), '$.resolution'),
  json_extract(CAST(outcome AS TEXT), '$.usage.video_count'),
  json_extract(CAST(outcome AS TEXT), '$.usage.video_count')
    * json_extract(CAST(outcome AS TEXT), '$.usage.video_duration'),
  ended_at, ended_at - scheduled_at
FROM task
WHERE state = 'SUCCEEDED' AND json_extract(CAST(outcome AS TEXT), '$.usage') IS NOT NULL
ORDER BY ended_at, seq;
