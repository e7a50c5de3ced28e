-- Version 5 of the protocol: owners' rules and asks, bids, checkpoints, results that are checked, and what
-- each machine has earned.
--
-- Rewrites a row for each job, specification and attempt, and reads the transfer of each payment once:
-- 100,000 jobs of one task each take about four seconds. Foreign keys are off meanwhile and checked at the
-- end.

CREATE TABLE new_job (
    id             INTEGER PRIMARY KEY,
    owner          INTEGER NOT NULL REFERENCES user DEFERRABLE INITIALLY DEFERRED,
    name           TEXT    NOT NULL,
    kind           TEXT    NOT NULL CHECK (kind IN ('python', 'c', 'shell')),
    state          TEXT    NOT NULL CHECK (state IN
                   ('draft', 'queued', 'running', 'succeeded', 'failed', 'cancelled')),
    tasks          INTEGER NOT NULL CHECK ((tasks = 0) = (state = 'draft')),
    -- That each task may have, the first included.
    runs           INTEGER NOT NULL CHECK (runs BETWEEN 1 AND 11),
    -- For one run of one task, in the present round of bids.
    quote          INTEGER NOT NULL CHECK (quote >= 0),
    -- Factor on the grid's formula as it was at submit, in thousandths.
    rate_permille  INTEGER NOT NULL DEFAULT 1000 CHECK (rate_permille >= 0),
    -- When it was made, for a draft.
    submitted_at   INTEGER NOT NULL,
    priority       INTEGER NOT NULL DEFAULT 0 CHECK (priority BETWEEN -100 AND 100),
    on_hold        INTEGER NOT NULL DEFAULT 0 CHECK (on_hold IN (0, 1)),
    cancelling     INTEGER NOT NULL DEFAULT 0 CHECK (cancelling IN (0, 1)),
    -- Tasks that a worker has right now.
    leased         INTEGER NOT NULL DEFAULT 0 CHECK (leased >= 0),
    succeeded      INTEGER NOT NULL DEFAULT 0,
    failed         INTEGER NOT NULL DEFAULT 0,
    cancelled      INTEGER NOT NULL DEFAULT 0,
    -- Runs that escrow holds: of each task that has not ended, those that it may still have.
    open_runs      INTEGER NOT NULL CHECK (open_runs >= 0),
    -- Out of the hold of open runs: for as much of them as a checkpoint covers.
    paid           INTEGER NOT NULL DEFAULT 0,
    charged        INTEGER NOT NULL DEFAULT 0,
    -- Of that, in rounds of bids before the present one.
    charged_before INTEGER NOT NULL DEFAULT 0 CHECK (charged_before >= 0),
    ended_at       INTEGER,
    -- When its files and logs went.
    emptied_at     INTEGER,
    -- Of its files, outputs, checkpoints and long logs.
    stored_bytes   INTEGER NOT NULL DEFAULT 0 CHECK (stored_bytes >= 0),
    -- Why something of it was cancelled without its submitter.
    note           TEXT    NOT NULL DEFAULT '',
    -- Of the files that it brings, while they are kept.
    manifest       BLOB CHECK (length(manifest) = 32),
    manifest_size  INTEGER,
    CHECK (succeeded + failed + cancelled + leased <= tasks),
    CHECK ((ended_at IS NULL) = (state IN ('draft', 'queued', 'running'))),
    CHECK ((ended_at IS NOT NULL) <= (succeeded + failed + cancelled = tasks)),
    CHECK ((emptied_at IS NOT NULL) <= (ended_at IS NOT NULL)),
    CHECK ((manifest IS NULL) = (manifest_size IS NULL)),
    CHECK (open_runs <= runs * (tasks - succeeded - failed - cancelled)),
    CHECK (paid BETWEEN 0 AND quote * open_runs),
    CHECK (charged - charged_before BETWEEN 0 AND quote * runs * tasks)
) STRICT;
INSERT INTO new_job (id, owner, name, kind, state, tasks, runs, quote, submitted_at, priority, on_hold,
    cancelling, leased, succeeded, failed, cancelled, open_runs, charged, ended_at, emptied_at, stored_bytes,
    note, manifest, manifest_size)
SELECT id, owner, name, kind, state, tasks, runs, quote, submitted_at, priority, on_hold,
    cancelling, leased, succeeded, failed, cancelled, open_runs, charged, ended_at, emptied_at, stored_bytes,
    note, manifest, manifest_size
FROM job;
DROP TABLE job;
ALTER TABLE new_job RENAME TO job;
CREATE INDEX job_by_owner ON job (owner, id);
CREATE INDEX job_open ON job (owner, id) WHERE state IN ('queued', 'running');
CREATE INDEX job_to_empty ON job (ended_at) WHERE ended_at IS NOT NULL AND emptied_at IS NULL;
CREATE INDEX job_storing ON job (owner, stored_bytes) WHERE stored_bytes > 0;
CREATE INDEX job_by_manifest ON job (manifest) WHERE manifest IS NOT NULL;

UPDATE job_spec SET
    spec = json_set(spec, '$.checkpoint_s', 300),
    terms = json_set(terms, '$.sale', 'formula', '$.deterministic', json('false'),
        '$.verify', json('false'));

-- What the task's next attempt goes on from: a list of files, and how far it had come.
ALTER TABLE task ADD COLUMN checkpoint BLOB CHECK (length(checkpoint) = 32);
ALTER TABLE task ADD COLUMN checkpoint_size INTEGER
    CHECK ((checkpoint IS NULL) = (checkpoint_size IS NULL));
ALTER TABLE task ADD COLUMN checkpoint_ms INTEGER CHECK ((checkpoint IS NULL) = (checkpoint_ms IS NULL));
-- Charged for earlier attempts of the present run, and how far it had come by then.
ALTER TABLE task ADD COLUMN paid INTEGER NOT NULL DEFAULT 0 CHECK (paid >= 0);
ALTER TABLE task ADD COLUMN paid_ms INTEGER NOT NULL DEFAULT 0 CHECK (paid_ms >= 0);
-- Held of the fee account, to have the result checked.
ALTER TABLE task ADD COLUMN audit INTEGER NOT NULL DEFAULT 0 CHECK (audit >= 0);
CREATE INDEX task_by_checkpoint ON task (checkpoint) WHERE checkpoint IS NOT NULL;

-- A file of a task's checkpoint.
CREATE TABLE checkpoint_file (
    job  INTEGER NOT NULL,
    idx  INTEGER NOT NULL,
    path TEXT    NOT NULL,
    hash BLOB    NOT NULL CHECK (length(hash) = 32),
    size INTEGER NOT NULL CHECK (size >= 0),
    PRIMARY KEY (job, idx, path),
    FOREIGN KEY (job, idx) REFERENCES task DEFERRABLE INITIALLY DEFERRED
) STRICT, WITHOUT ROWID;
CREATE INDEX checkpoint_file_by_hash ON checkpoint_file (hash, job);

-- A result that counts once another machine agrees.
CREATE TABLE vote (
    job     INTEGER NOT NULL,
    idx     INTEGER NOT NULL,
    place   INTEGER NOT NULL CHECK (place IN (0, 1)),
    attempt INTEGER NOT NULL,
    worker  INTEGER NOT NULL REFERENCES worker DEFERRABLE INITIALLY DEFERRED,
    owner   INTEGER NOT NULL REFERENCES user DEFERRABLE INITIALLY DEFERRED,
    digest  BLOB    NOT NULL CHECK (length(digest) = 32),
    charge  INTEGER NOT NULL CHECK (charge >= 0),
    run_ms  INTEGER NOT NULL CHECK (run_ms >= 0),
    PRIMARY KEY (job, idx, place),
    FOREIGN KEY (job, idx, attempt) REFERENCES attempt DEFERRABLE INITIALLY DEFERRED
) STRICT, WITHOUT ROWID;
CREATE INDEX vote_by_worker ON vote (worker);
CREATE INDEX vote_by_owner ON vote (owner);

-- What such a result left, until it is known which of them counts.
CREATE TABLE vote_output (
    job     INTEGER NOT NULL,
    idx     INTEGER NOT NULL,
    attempt INTEGER NOT NULL,
    path    TEXT    NOT NULL,
    hash    BLOB    NOT NULL CHECK (length(hash) = 32),
    size    INTEGER NOT NULL CHECK (size >= 0),
    PRIMARY KEY (job, idx, attempt, path),
    FOREIGN KEY (job, idx, attempt) REFERENCES attempt DEFERRABLE INITIALLY DEFERRED
) STRICT, WITHOUT ROWID;
CREATE INDEX vote_output_by_hash ON vote_output (hash, job);
-- And what it could not keep, in words.
ALTER TABLE attempt ADD COLUMN left_behind TEXT NOT NULL DEFAULT '';

-- What the attempt is charged by: a price for the whole time limit, and how it grows with time, as nine
-- numbers; by the grid's formula if absent.
ALTER TABLE attempt ADD COLUMN price INTEGER NOT NULL DEFAULT 0 CHECK (price >= 0);
ALTER TABLE attempt ADD COLUMN prices TEXT CHECK (prices NOT GLOB '*[^0-9,]*');
-- By the machine's owner, for how much running time, and by which transfer.
ALTER TABLE attempt ADD COLUMN earned INTEGER NOT NULL DEFAULT 0 CHECK (earned >= 0);
ALTER TABLE attempt ADD COLUMN paid_ms INTEGER NOT NULL DEFAULT 0 CHECK (paid_ms >= 0);
ALTER TABLE attempt ADD COLUMN pay INTEGER;
UPDATE attempt SET
    price = (SELECT quote FROM job WHERE job.id = attempt.job),
    paid_ms = iif(charged > 0, run_ms, 0),
    pay = (SELECT id FROM transfer
        WHERE key = 'pay:' || attempt.job || '.' || attempt.idx || ':' || attempt.number);
UPDATE attempt SET earned = (SELECT amount FROM transfer WHERE transfer.id = attempt.pay)
WHERE pay IS NOT NULL;
DROP INDEX attempt_by_worker;
CREATE INDEX attempt_by_worker ON attempt (worker, pay);

-- Its owner's rules and ask, and what its reliability is made of; counted from this version on, but for
-- what it has earned.
ALTER TABLE worker ADD COLUMN rules TEXT NOT NULL DEFAULT '{}' CHECK (json_valid(rules));
ALTER TABLE worker ADD COLUMN ask TEXT CHECK (ask NOT GLOB '*[^0-9,]*');
ALTER TABLE worker ADD COLUMN bids_by_itself INTEGER NOT NULL DEFAULT 0
    CHECK (bids_by_itself IN (0, 1));
ALTER TABLE worker ADD COLUMN delivered INTEGER NOT NULL DEFAULT 0 CHECK (delivered >= 0);
ALTER TABLE worker ADD COLUMN handed_back INTEGER NOT NULL DEFAULT 0 CHECK (handed_back >= 0);
ALTER TABLE worker ADD COLUMN lost INTEGER NOT NULL DEFAULT 0 CHECK (lost >= 0);
ALTER TABLE worker ADD COLUMN bids_failed INTEGER NOT NULL DEFAULT 0 CHECK (bids_failed >= 0);
ALTER TABLE worker ADD COLUMN valid INTEGER NOT NULL DEFAULT 0 CHECK (valid >= 0);
ALTER TABLE worker ADD COLUMN invalid INTEGER NOT NULL DEFAULT 0 CHECK (invalid >= 0);
ALTER TABLE worker ADD COLUMN valid_in_row INTEGER NOT NULL DEFAULT 0 CHECK (valid_in_row >= 0);
ALTER TABLE worker ADD COLUMN earned INTEGER NOT NULL DEFAULT 0 CHECK (earned >= 0);
UPDATE worker SET earned = (SELECT coalesce(sum(earned), 0) FROM attempt WHERE worker = worker.id);

-- A job that is sold by bids.
CREATE TABLE market (
    job            INTEGER PRIMARY KEY REFERENCES job DEFERRABLE INITIALLY DEFERRED,
    sale           TEXT    NOT NULL CHECK (sale IN ('hand', 'rule')),
    -- How often it was opened again, since an accepted bid had failed.
    round          INTEGER NOT NULL CHECK (round >= 0),
    -- Over, if it ends while it takes bids.
    stage          TEXT    NOT NULL CHECK (stage IN ('open', 'awarded', 'over')),
    -- When the best bid is accepted; never by itself if absent.
    closes_at      INTEGER,
    -- The machine whose bid was accepted, what it gets, and by when it has to have started.
    worker         INTEGER REFERENCES worker DEFERRABLE INITIALLY DEFERRED,
    price          INTEGER CHECK (price >= 0),
    start_within_s INTEGER,
    automatic      INTEGER CHECK (automatic IN (0, 1)),
    start_by       INTEGER,
    CHECK ((stage = 'awarded') = (worker IS NOT NULL)),
    CHECK ((worker IS NULL) = (price IS NULL)),
    CHECK ((worker IS NULL) = (start_within_s IS NULL)),
    CHECK ((worker IS NULL) = (automatic IS NULL)),
    CHECK ((start_by IS NOT NULL) <= (worker IS NOT NULL))
) STRICT;
CREATE INDEX market_open ON market (job) WHERE stage = 'open';
CREATE INDEX market_by_worker ON market (worker) WHERE worker IS NOT NULL;

-- Every bid that was ever placed; the last of each machine in each round.
CREATE TABLE bid (
    id             INTEGER PRIMARY KEY,
    job            INTEGER NOT NULL REFERENCES market DEFERRABLE INITIALLY DEFERRED,
    round          INTEGER NOT NULL CHECK (round >= 0),
    worker         INTEGER NOT NULL REFERENCES worker DEFERRABLE INITIALLY DEFERRED,
    -- Of the machine, so that bids are found by it.
    owner          INTEGER NOT NULL REFERENCES user DEFERRABLE INITIALLY DEFERRED,
    price          INTEGER NOT NULL CHECK (price >= 0),
    start_within_s INTEGER NOT NULL CHECK (start_within_s >= 0),
    automatic      INTEGER NOT NULL CHECK (automatic IN (0, 1)),
    at             INTEGER NOT NULL,
    state          TEXT    NOT NULL CHECK (state IN
                   ('open', 'accepted', 'refused', 'withdrawn', 'failed', 'over')),
    -- What is paid for it, once it is accepted.
    agreed         INTEGER CHECK (agreed >= 0),
    over_at        INTEGER,
    UNIQUE (job, round, worker),
    CHECK ((over_at IS NULL) = (state = 'open'))
) STRICT;
CREATE INDEX bid_by_owner ON bid (owner, id);
CREATE INDEX bid_by_worker ON bid (worker);
CREATE INDEX bid_open ON bid (job) WHERE state = 'open';

-- Addresses that somebody was given starting credits for, as hashes.
CREATE TABLE identity (
    hash BLOB    NOT NULL PRIMARY KEY CHECK (length(hash) = 32),
    user INTEGER NOT NULL REFERENCES user DEFERRABLE INITIALLY DEFERRED
) STRICT, WITHOUT ROWID;
CREATE INDEX identity_by_user ON identity (user);
-- Since when the address is known to be the user's.
ALTER TABLE user ADD COLUMN verified_at INTEGER;

-- What each machine has earned in each hour since the epoch.
CREATE TABLE earning (
    worker INTEGER NOT NULL REFERENCES worker DEFERRABLE INITIALLY DEFERRED,
    hour   INTEGER NOT NULL,
    micros INTEGER NOT NULL CHECK (micros > 0),
    PRIMARY KEY (worker, hour)
) STRICT, WITHOUT ROWID;
INSERT INTO earning (worker, hour, micros)
SELECT attempt.worker, transfer.at / 3600000, sum(attempt.earned)
FROM attempt JOIN transfer ON transfer.id = attempt.pay
GROUP BY 1, 2;

-- What was charged in each hour, and for how long of how much: of attempts without GPUs by their cores, of
-- the others by their GPUs, in milliseconds of one.
CREATE TABLE price_hour (
    hour        INTEGER PRIMARY KEY,
    cpu_charged INTEGER NOT NULL CHECK (cpu_charged >= 0),
    core_ms     INTEGER NOT NULL CHECK (core_ms >= 0),
    gpu_charged INTEGER NOT NULL CHECK (gpu_charged >= 0),
    gpu_ms      INTEGER NOT NULL CHECK (gpu_ms >= 0)
) STRICT;
INSERT INTO price_hour (hour, cpu_charged, core_ms, gpu_charged, gpu_ms)
SELECT hour, sum(iif(gpus = 0, charged, 0)), sum(iif(gpus = 0, run_ms * cpu_millis / 1000, 0)),
    sum(iif(gpus = 0, 0, charged)), sum(run_ms * gpus)
FROM (SELECT attempt.ended_at / 3600000 AS hour, attempt.charged, attempt.run_ms,
        json_extract(job_spec.spec, '$.needs.gpus') AS gpus,
        json_extract(job_spec.spec, '$.needs.cpu_millis') AS cpu_millis
    FROM attempt JOIN job_spec ON job_spec.job = attempt.job
    WHERE attempt.charged > 0 AND attempt.ended_at IS NOT NULL)
GROUP BY hour;
