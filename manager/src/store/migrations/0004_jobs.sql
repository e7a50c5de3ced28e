-- Version 4 of the protocol: arrays with indices, input files, drafts, chains, retries and notices.
--
-- Rewrites a row for each job, task, log and key; specifications move to a table of their own, so that
-- lists and counts never read past them. 100,000 jobs with 1 KiB of source and one task each take about
-- three seconds. Foreign keys are off meanwhile and checked at the end.

-- A draft has no tasks yet, and its number is that of the job it becomes.
CREATE TABLE new_job (
    id            INTEGER PRIMARY KEY,
    owner         INTEGER NOT NULL REFERENCES user DEFERRABLE INITIALLY DEFERRED,
    name          TEXT    NOT NULL,
    kind          TEXT    NOT NULL CHECK (kind IN ('python', 'c', 'shell')),
    state         TEXT    NOT NULL CHECK (state IN
                  ('draft', 'queued', 'running', 'succeeded', 'failed', 'cancelled')),
    tasks         INTEGER NOT NULL CHECK ((tasks = 0) = (state = 'draft')),
    -- That each task may have, the first included.
    runs          INTEGER NOT NULL CHECK (runs BETWEEN 1 AND 11),
    -- For one run of one task.
    quote         INTEGER NOT NULL CHECK (quote >= 0),
    -- When it was made, for a draft.
    submitted_at  INTEGER NOT NULL,
    priority      INTEGER NOT NULL DEFAULT 0 CHECK (priority BETWEEN -100 AND 100),
    on_hold       INTEGER NOT NULL DEFAULT 0 CHECK (on_hold IN (0, 1)),
    cancelling    INTEGER NOT NULL DEFAULT 0 CHECK (cancelling IN (0, 1)),
    -- Tasks that a worker has right now.
    leased        INTEGER NOT NULL DEFAULT 0 CHECK (leased >= 0),
    succeeded     INTEGER NOT NULL DEFAULT 0,
    failed        INTEGER NOT NULL DEFAULT 0,
    cancelled     INTEGER NOT NULL DEFAULT 0,
    -- Runs that escrow holds: of each task that has not ended, those that it may still have.
    open_runs     INTEGER NOT NULL CHECK (open_runs >= 0),
    charged       INTEGER NOT NULL DEFAULT 0,
    ended_at      INTEGER,
    -- When its files and logs went.
    emptied_at    INTEGER,
    -- Of its files, outputs and long logs.
    stored_bytes  INTEGER NOT NULL DEFAULT 0 CHECK (stored_bytes >= 0),
    -- Why something of it was cancelled without its submitter.
    note          TEXT    NOT NULL DEFAULT '',
    -- Of the files that it brings, while they are kept.
    manifest      BLOB CHECK (length(manifest) = 32),
    manifest_size INTEGER,
    CHECK (succeeded + failed + cancelled + leased <= tasks),
    CHECK ((ended_at IS NULL) = (state IN ('draft', 'queued', 'running'))),
    CHECK ((ended_at IS NOT NULL) <= (succeeded + failed + cancelled = tasks)),
    CHECK ((emptied_at IS NOT NULL) <= (ended_at IS NOT NULL)),
    CHECK ((manifest IS NULL) = (manifest_size IS NULL)),
    CHECK (open_runs <= runs * (tasks - succeeded - failed - cancelled)),
    CHECK (charged BETWEEN 0 AND quote * runs * tasks)
) STRICT;

CREATE TABLE job_spec (
    job   INTEGER PRIMARY KEY REFERENCES job DEFERRABLE INITIALLY DEFERRED,
    spec  TEXT    NOT NULL CHECK (json_valid(spec)),
    terms TEXT    NOT NULL CHECK (json_valid(terms)),
    -- What the job's packages came to, as a requirements file with hashes, once a worker has said so.
    lock  TEXT
) STRICT;

INSERT INTO new_job (id, owner, name, kind, state, tasks, runs, quote, submitted_at, cancelling, leased,
    succeeded, failed, cancelled, open_runs, charged, ended_at, stored_bytes)
SELECT id, owner, name,
    CASE WHEN json_type(spec, '$.work.python') IS NOT NULL THEN 'python'
        WHEN json_type(spec, '$.work.c') IS NOT NULL THEN 'c' ELSE 'shell' END,
    CASE WHEN ended_at IS NULL
            THEN iif(EXISTS (SELECT 1 FROM task WHERE task.job = job.id), 'running', 'queued')
        WHEN failed > 0 THEN 'failed' WHEN cancelled > 0 THEN 'cancelled' ELSE 'succeeded' END,
    tasks, 1, quote, submitted_at, cancelling,
    (SELECT count(*) FROM task WHERE task.job = job.id AND state = 'leased'),
    succeeded, failed, cancelled, tasks - succeeded - failed - cancelled, charged, ended_at,
    (SELECT coalesce(sum(size), 0) FROM output WHERE output.job = job.id)
        + (SELECT coalesce(sum(size), 0) FROM log WHERE log.job = job.id AND hash IS NOT NULL)
FROM job;

INSERT INTO job_spec (job, spec, terms, lock)
SELECT id,
    json_set(
        CASE WHEN json_type(spec, '$.work.python') IS NOT NULL
                THEN json_remove(json_set(spec, '$.work.python.program',
                        json_object('source', json_extract(spec, '$.work.python.source'))),
                    '$.work.python.source')
            WHEN json_type(spec, '$.work.c') IS NOT NULL
                THEN json_remove(json_set(spec, '$.work.c.program',
                        json_object('source', json_extract(spec, '$.work.c.source'))),
                    '$.work.c.source')
            ELSE json_remove(json_set(spec, '$.work.shell.program',
                        json_object('source', json_extract(spec, '$.work.shell.command'))),
                    '$.work.shell.command')
        END,
        '$.arguments', json('[]'),
        '$.inputs', NULL,
        '$.lines', NULL,
        '$.outputs', json('[]'),
        '$.warn_s', 0),
    json_object(
        'indices', iif(tasks = 1, '0', '0-' || (tasks - 1)),
        'at_once', NULL,
        'retries', 0,
        'backoff_s', 0,
        'deadline_at_ms', NULL,
        'notify', json('{"start":false,"end":false,"failure":false,"mail":false}')),
    lock
FROM job;

-- How far the tasks are, a letter each, 512 to a row: u for untouched, b for begun and not ended, which
-- has a row in `task`, s, f and c for succeeded, failed and cancelled. Where there is no row, all are
-- untouched.
CREATE TABLE progress (
    job    INTEGER NOT NULL REFERENCES job DEFERRABLE INITIALLY DEFERRED,
    chunk  INTEGER NOT NULL CHECK (chunk >= 0),
    states TEXT    NOT NULL
           CHECK (length(states) BETWEEN 1 AND 512 AND states NOT GLOB '*[^ubsfc]*'),
    PRIMARY KEY (job, chunk)
) STRICT, WITHOUT ROWID;

-- What was cancelled before it started has no row in `task`, and lies before what is untouched.
INSERT INTO progress (job, chunk, states)
WITH RECURSIVE position(job, idx, untouched_from, last) AS (
    SELECT id, 0, untouched_from, min(tasks, (untouched_from + 511) / 512 * 512) - 1
    FROM job WHERE untouched_from > 0
    UNION ALL
    SELECT job, idx + 1, untouched_from, last FROM position WHERE idx < last)
SELECT position.job, position.idx / 512, group_concat(CASE
        WHEN position.idx >= untouched_from THEN 'u'
        WHEN task.state IN ('queued', 'leased') THEN 'b'
        WHEN task.state = 'succeeded' THEN 's'
        WHEN task.state = 'failed' THEN 'f'
        ELSE 'c' END, '' ORDER BY position.idx)
FROM position LEFT JOIN task ON task.job = position.job AND task.idx = position.idx
GROUP BY position.job, position.idx / 512;

DROP TABLE job;
ALTER TABLE new_job RENAME TO job;
CREATE INDEX job_by_owner ON job (owner, id);
CREATE INDEX job_open ON job (owner, id) WHERE state IN ('queued', 'running');
CREATE INDEX job_to_empty ON job (ended_at) WHERE ended_at IS NOT NULL AND emptied_at IS NULL;
CREATE INDEX job_storing ON job (owner, stored_bytes) WHERE stored_bytes > 0;
CREATE INDEX job_by_manifest ON job (manifest) WHERE manifest IS NOT NULL;

-- A task that started at least once, by its position.
CREATE TABLE new_task (
    job          INTEGER NOT NULL REFERENCES job DEFERRABLE INITIALLY DEFERRED,
    idx          INTEGER NOT NULL,
    attempts     INTEGER NOT NULL CHECK (attempts > 0),
    tries_left   INTEGER NOT NULL CHECK (tries_left >= 0),
    -- That its hold covers; of one that has ended, those that it has not had, and its last.
    runs_left    INTEGER NOT NULL CHECK (runs_left BETWEEN 1 AND 11),
    state        TEXT    NOT NULL CHECK (state IN
                 ('queued', 'pausing', 'leased', 'succeeded', 'failed', 'cancelled')),
    -- When it waits again after it has failed.
    paused_until INTEGER,
    reason       TEXT    NOT NULL DEFAULT '',
    left_behind  TEXT    NOT NULL DEFAULT '',
    charged      INTEGER NOT NULL DEFAULT 0,
    ended_at     INTEGER,
    -- The first loss on each of the machines that were lost while they ran the task: WORKER#ATTEMPT, two
    -- of them at most, such as '7#1,9#3'.
    losses       TEXT    NOT NULL DEFAULT '' CHECK (losses NOT GLOB '*[^0-9,#]*'),
    PRIMARY KEY (job, idx),
    CHECK ((paused_until IS NOT NULL) = (state = 'pausing')),
    CHECK ((ended_at IS NULL) = (state IN ('queued', 'pausing', 'leased')))
) STRICT, WITHOUT ROWID;
INSERT INTO new_task (job, idx, attempts, tries_left, runs_left, state, reason, left_behind, charged,
    ended_at, losses)
SELECT job, idx, attempts, tries_left, 1, state, reason, left_behind, charged, ended_at, losses FROM task;
DROP TABLE task;
ALTER TABLE new_task RENAME TO task;
CREATE INDEX task_open ON task (job, idx) WHERE ended_at IS NULL;

-- How the attempt ended, and with which exit code: 128 and the signal's number for one that was killed.
ALTER TABLE attempt ADD COLUMN ending TEXT
    CHECK (ending IN ('succeeded', 'failed', 'cancelled', 'returned'));
ALTER TABLE attempt ADD COLUMN exit_code INTEGER;
UPDATE attempt SET
    ending = CASE
        WHEN outcome = 'succeeded' THEN 'succeeded'
        WHEN outcome = 'cancelled' THEN 'cancelled'
        WHEN outcome LIKE 'the worker%' OR outcome LIKE 'a GPU of the worker%'
            OR outcome LIKE 'the owner%' OR outcome LIKE 'the manager%' THEN 'returned'
        WHEN EXISTS (SELECT 1 FROM task WHERE task.job = attempt.job AND task.idx = attempt.idx
            AND task.attempts = attempt.number AND task.state = 'failed') THEN 'failed'
        ELSE 'returned'
    END,
    exit_code = CASE
        WHEN outcome = 'succeeded' THEN 0
        WHEN outcome LIKE 'ended with exit code %' THEN CAST(substr(outcome, 22) AS INTEGER)
        WHEN outcome LIKE 'was ended by signal %' THEN 128 + CAST(substr(outcome, 21) AS INTEGER)
    END
WHERE ended_at IS NOT NULL;

-- The log of an attempt: here if it is short, else in a blob. One that printed nothing has none.
CREATE TABLE new_log (
    job       INTEGER NOT NULL,
    idx       INTEGER NOT NULL,
    attempt   INTEGER NOT NULL,
    stream    TEXT    NOT NULL CHECK (stream IN ('stdout', 'stderr')),
    content   BLOB,
    hash      BLOB CHECK (length(hash) = 32),
    size      INTEGER NOT NULL,
    cut_bytes INTEGER NOT NULL,
    PRIMARY KEY (job, idx, attempt, stream),
    FOREIGN KEY (job, idx, attempt) REFERENCES attempt DEFERRABLE INITIALLY DEFERRED,
    CHECK ((content IS NULL) <> (hash IS NULL))
) STRICT, WITHOUT ROWID;
INSERT INTO new_log (job, idx, attempt, stream, content, hash, size, cut_bytes)
SELECT log.job, log.idx, task.attempts, log.stream, log.content, log.hash, log.size, log.cut_bytes
FROM log JOIN task ON task.job = log.job AND task.idx = log.idx
WHERE log.size > 0 OR log.cut_bytes > 0;
DROP TABLE log;
ALTER TABLE new_log RENAME TO log;
CREATE INDEX log_by_hash ON log (hash) WHERE hash IS NOT NULL;

CREATE INDEX output_by_hash ON output (hash, job);

-- An input file of a job or of a draft.
CREATE TABLE file (
    job        INTEGER NOT NULL REFERENCES job DEFERRABLE INITIALLY DEFERRED,
    path       TEXT    NOT NULL,
    hash       BLOB    NOT NULL CHECK (length(hash) = 32),
    size       INTEGER NOT NULL CHECK (size >= 0),
    executable INTEGER NOT NULL CHECK (executable IN (0, 1)),
    PRIMARY KEY (job, path)
) STRICT, WITHOUT ROWID;
CREATE INDEX file_by_hash ON file (hash, job);

CREATE TABLE draft (
    job        INTEGER PRIMARY KEY REFERENCES job DEFERRABLE INITIALLY DEFERRED,
    -- The request that is to be launched, as it came.
    submit     TEXT    NOT NULL CHECK (json_valid(submit)),
    -- Rises with every change of its files.
    revision   INTEGER NOT NULL CHECK (revision >= 0),
    touched_at INTEGER NOT NULL
) STRICT;

-- What a job that has not ended still waits for.
CREATE TABLE waits_for (
    job       INTEGER NOT NULL REFERENCES job DEFERRABLE INITIALLY DEFERRED,
    place     INTEGER NOT NULL,
    other     INTEGER NOT NULL REFERENCES job DEFERRABLE INITIALLY DEFERRED,
    condition TEXT    NOT NULL CHECK (condition IN ('started', 'ok', 'any', 'failed')),
    each      INTEGER NOT NULL CHECK (each IN (0, 1)),
    PRIMARY KEY (job, place)
) STRICT, WITHOUT ROWID;
CREATE INDEX waits_for_by_other ON waits_for (other);

-- What somebody is to be told: a row for each way to tell it. It stays when it is told or given up, so
-- that nothing is told twice.
CREATE TABLE notice (
    id      INTEGER PRIMARY KEY,
    job     INTEGER NOT NULL REFERENCES job DEFERRABLE INITIALLY DEFERRED,
    kind    TEXT    NOT NULL CHECK (kind IN ('started', 'failed', 'ended')),
    channel TEXT    NOT NULL CHECK (channel IN ('mail', 'webhook')),
    at      INTEGER NOT NULL,
    -- When it is to be tried; never again if null.
    due_at  INTEGER,
    tries   INTEGER NOT NULL DEFAULT 0,
    -- Why the last try failed.
    reason  TEXT    NOT NULL DEFAULT '',
    UNIQUE (job, kind, channel)
) STRICT;
CREATE INDEX notice_by_time ON notice (due_at) WHERE due_at IS NOT NULL;

-- What webhooks of the user are signed with.
ALTER TABLE user ADD COLUMN webhook_secret TEXT;

-- Without a reference to the job: it may be a draft that has been discarded since.
CREATE TABLE new_submit_key (
    owner INTEGER NOT NULL REFERENCES user DEFERRABLE INITIALLY DEFERRED,
    key   TEXT    NOT NULL,
    job   INTEGER NOT NULL,
    held  INTEGER NOT NULL,
    until INTEGER NOT NULL,
    body  BLOB    NOT NULL CHECK (length(body) = 32),
    PRIMARY KEY (owner, key)
) STRICT, WITHOUT ROWID;
INSERT INTO new_submit_key SELECT owner, key, job, held, until, body FROM submit_key;
DROP TABLE submit_key;
ALTER TABLE new_submit_key RENAME TO submit_key;

-- Jobs that were ever submitted: drafts have numbers as well, and some numbers are left out.
ALTER TABLE total ADD COLUMN jobs INTEGER NOT NULL DEFAULT 0;
UPDATE total SET jobs = (SELECT count(*) FROM job);

-- Of a crowded job only the newest event of each such kind is kept: every task would leave three.
ALTER TABLE event ADD COLUMN newest_only INTEGER NOT NULL DEFAULT 0 CHECK (newest_only IN (0, 1));
CREATE UNIQUE INDEX event_newest ON event (job, kind) WHERE newest_only = 1;
