-- What waits and runs, apart by all that a price goes by: every create of an account with a budget asks what it comes to.

ALTER TABLE task ADD COLUMN resolution TEXT NOT NULL DEFAULT '';
UPDATE task SET resolution = json_extract(CAST(job AS TEXT), '$.resolution');

DROP TRIGGER line_insert;
DROP TRIGGER line_leave;
DROP TABLE line;

CREATE TABLE line (
  account TEXT NOT NULL,
  model TEXT NOT NULL,
  engine TEXT NOT NULL,
  region TEXT NOT NULL,
  resolution TEXT NOT NULL,
  waiting INTEGER NOT NULL,
  running INTEGER NOT NULL,
  PRIMARY KEY (account, model, engine, region, resolution)
) STRICT, WITHOUT ROWID;

INSERT INTO line
SELECT account, model, engine, region, resolution, sum(state <> 'RUNNING'), sum(state = 'RUNNING') FROM task
WHERE state IN ('PENDING', 'REQUEUED', 'RUNNING') GROUP BY account, model, engine, region, resolution;

CREATE TRIGGER line_insert AFTER INSERT ON task WHEN NEW.state IN ('PENDING', 'REQUEUED', 'RUNNING') BEGIN
  INSERT INTO line
  VALUES (
    NEW.account, NEW.model, NEW.engine, NEW.region, NEW.resolution, NEW.state <> 'RUNNING', NEW.state = 'RUNNING'
  )
  ON CONFLICT DO UPDATE SET waiting = waiting + excluded.waiting, running = running + excluded.running;
END;

CREATE TRIGGER line_leave AFTER UPDATE OF state, engine ON task
WHEN OLD.state IN ('PENDING', 'REQUEUED', 'RUNNING') AND (OLD.state <> NEW.state OR OLD.engine <> NEW.engine) BEGIN
  UPDATE line SET waiting = waiting - (OLD.state <> 'RUNNING'), running = running - (OLD.state = 'RUNNING')
  WHERE account = OLD.account AND model = OLD.model AND engine = OLD.engine
    AND region = OLD.region AND resolution = OLD.resolution;
  INSERT INTO line
  SELECT
    NEW.account, NEW.model, NEW.engine, NEW.region, NEW.resolution, NEW.state <> 'RUNNING', NEW.state = 'RUNNING'
  WHERE NEW.state IN ('PENDING', 'REQUEUED', 'RUNNING')
  ON CONFLICT DO UPDATE SET waiting = waiting + excluded.waiting, running = running + excluded.running;
  DELETE FROM line
  WHERE account = OLD.account AND model = OLD.model AND engine = OLD.engine
    AND region = OLD.region AND resolution = OLD.resolution AND waiting = 0 AND running = 0;
END;
