-- The grid at rest. Times are milliseconds since the Unix epoch, credits are micro-credits.
-- Foreign keys are checked at commit, since a batch writes rows in the order things happened.

CREATE TABLE user (
    id            INTEGER PRIMARY KEY,
    name          TEXT    NOT NULL,
    email         TEXT,
    role          TEXT    NOT NULL CHECK (role IN ('member', 'operator')),
    password_hash TEXT    NOT NULL,
    registered_at INTEGER NOT NULL
) STRICT;
CREATE UNIQUE INDEX user_by_name ON user (lower(name));

CREATE TABLE login (
    token_hash BLOB    NOT NULL PRIMARY KEY CHECK (length(token_hash) = 32),
    user       INTEGER NOT NULL REFERENCES user DEFERRABLE INITIALLY DEFERRED,
    until      INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE INDEX login_by_user ON login (user);
CREATE INDEX login_by_end ON login (until);

-- 1 is the mint, the only one that may owe; 2 escrow; 3 fee; 1000 + user.id a user's.
CREATE TABLE account (
    id      INTEGER PRIMARY KEY CHECK (id IN (1, 2, 3) OR id > 1000),
    balance INTEGER NOT NULL CHECK (balance >= 0 OR id = 1),
    earned  INTEGER NOT NULL CHECK (earned >= 0),
    spent   INTEGER NOT NULL CHECK (spent >= 0)
) STRICT;
CREATE INDEX account_by_earned ON account (earned DESC);

CREATE TABLE transfer (
    id      INTEGER PRIMARY KEY,
    key     TEXT    NOT NULL UNIQUE,
    debit   INTEGER NOT NULL REFERENCES account DEFERRABLE INITIALLY DEFERRED,
    credit  INTEGER NOT NULL REFERENCES account DEFERRABLE INITIALLY DEFERRED,
    amount  INTEGER NOT NULL CHECK (amount > 0),
    at      INTEGER NOT NULL,
    job     INTEGER REFERENCES job DEFERRABLE INITIALLY DEFERRED,
    hash    BLOB    NOT NULL CHECK (length(hash) = 32),
    CHECK (debit <> credit)
) STRICT;
CREATE INDEX transfer_by_debit ON transfer (debit, id);
CREATE INDEX transfer_by_credit ON transfer (credit, id);
CREATE INDEX transfer_by_job ON transfer (job);
CREATE TRIGGER transfer_never_changes BEFORE UPDATE ON transfer
BEGIN SELECT raise(ABORT, 'a transfer never changes'); END;
CREATE TRIGGER transfer_never_goes BEFORE DELETE ON transfer
BEGIN SELECT raise(ABORT, 'a transfer is never deleted'); END;

CREATE TABLE job (
    id             INTEGER PRIMARY KEY,
    owner          INTEGER NOT NULL REFERENCES user DEFERRABLE INITIALLY DEFERRED,
    name           TEXT    NOT NULL,
    spec           TEXT    NOT NULL CHECK (json_valid(spec)),
    tasks          INTEGER NOT NULL CHECK (tasks > 0),
    quote          INTEGER NOT NULL CHECK (quote >= 0),
    submitted_at   INTEGER NOT NULL,
    -- Tasks from here on never started and have no row.
    untouched_from INTEGER NOT NULL DEFAULT 0 CHECK (untouched_from BETWEEN 0 AND tasks),
    succeeded      INTEGER NOT NULL DEFAULT 0,
    failed         INTEGER NOT NULL DEFAULT 0,
    cancelled      INTEGER NOT NULL DEFAULT 0,
    charged        INTEGER NOT NULL DEFAULT 0,
    ended_at       INTEGER,
    CHECK (succeeded + failed + cancelled <= tasks),
    CHECK ((ended_at IS NOT NULL) <= (succeeded + failed + cancelled = tasks)),
    CHECK (charged BETWEEN 0 AND quote * tasks)
) STRICT;
CREATE INDEX job_by_owner ON job (owner, id);
CREATE INDEX job_open ON job (id) WHERE ended_at IS NULL;

-- A task that started at least once.
CREATE TABLE task (
    job         INTEGER NOT NULL REFERENCES job DEFERRABLE INITIALLY DEFERRED,
    idx         INTEGER NOT NULL,
    attempts    INTEGER NOT NULL CHECK (attempts > 0),
    tries_left  INTEGER NOT NULL CHECK (tries_left >= 0),
    state       TEXT    NOT NULL
                CHECK (state IN ('queued', 'leased', 'succeeded', 'failed', 'cancelled')),
    reason      TEXT    NOT NULL DEFAULT '',
    left_behind TEXT    NOT NULL DEFAULT '',
    charged     INTEGER NOT NULL DEFAULT 0,
    ended_at    INTEGER,
    PRIMARY KEY (job, idx),
    CHECK ((ended_at IS NULL) = (state IN ('queued', 'leased')))
) STRICT, WITHOUT ROWID;
CREATE INDEX task_open ON task (job, idx) WHERE ended_at IS NULL;

CREATE TABLE attempt (
    job          INTEGER NOT NULL,
    idx          INTEGER NOT NULL,
    number       INTEGER NOT NULL CHECK (number > 0),
    worker       INTEGER NOT NULL REFERENCES worker DEFERRABLE INITIALLY DEFERRED,
    leased_at    INTEGER NOT NULL,
    started_at   INTEGER,
    cancelling   INTEGER NOT NULL DEFAULT 0 CHECK (cancelling IN (0, 1)),
    ended_at     INTEGER,
    outcome      TEXT,
    run_ms       INTEGER NOT NULL DEFAULT 0,
    cpu_ms       INTEGER NOT NULL DEFAULT 0,
    ram_peak_mib INTEGER NOT NULL DEFAULT 0,
    charged      INTEGER NOT NULL DEFAULT 0,
    PRIMARY KEY (job, idx, number),
    FOREIGN KEY (job, idx) REFERENCES task DEFERRABLE INITIALLY DEFERRED,
    CHECK ((ended_at IS NULL) = (outcome IS NULL))
) STRICT, WITHOUT ROWID;

CREATE INDEX attempt_by_worker ON attempt (worker);

-- The log of the attempt that ended its task: here if it is short, else in a blob.
CREATE TABLE log (
    job       INTEGER NOT NULL,
    idx       INTEGER NOT NULL,
    stream    TEXT    NOT NULL CHECK (stream IN ('stdout', 'stderr')),
    content   BLOB,
    hash      BLOB CHECK (length(hash) = 32),
    size      INTEGER NOT NULL,
    cut_bytes INTEGER NOT NULL,
    PRIMARY KEY (job, idx, stream),
    FOREIGN KEY (job, idx) REFERENCES task DEFERRABLE INITIALLY DEFERRED,
    CHECK ((content IS NULL) <> (hash IS NULL))
) STRICT, WITHOUT ROWID;

CREATE TABLE output (
    job  INTEGER NOT NULL,
    idx  INTEGER NOT NULL,
    path TEXT    NOT NULL,
    hash BLOB    NOT NULL CHECK (length(hash) = 32),
    size INTEGER NOT NULL CHECK (size >= 0),
    PRIMARY KEY (job, idx, path),
    FOREIGN KEY (job, idx) REFERENCES task DEFERRABLE INITIALLY DEFERRED
) STRICT, WITHOUT ROWID;

-- A machine that somebody approved as theirs. Removed ones stay, for the history of attempts.
CREATE TABLE worker (
    id          INTEGER PRIMARY KEY,
    key_hash    BLOB    NOT NULL CHECK (length(key_hash) = 32),
    name        TEXT    NOT NULL,
    owner       INTEGER NOT NULL REFERENCES user DEFERRABLE INITIALLY DEFERRED,
    approved_at INTEGER NOT NULL,
    removed_at  INTEGER
) STRICT;
CREATE UNIQUE INDEX worker_by_key ON worker (key_hash) WHERE removed_at IS NULL;
CREATE INDEX worker_by_owner ON worker (owner);

-- So that a repeated submit finds the first job.
CREATE TABLE submit_key (
    owner INTEGER NOT NULL REFERENCES user DEFERRABLE INITIALLY DEFERRED,
    key   TEXT    NOT NULL,
    job   INTEGER NOT NULL REFERENCES job DEFERRABLE INITIALLY DEFERRED,
    held  INTEGER NOT NULL,
    until INTEGER NOT NULL,
    body  BLOB    NOT NULL CHECK (length(body) = 32),
    PRIMARY KEY (owner, key)
) STRICT, WITHOUT ROWID;
CREATE INDEX submit_key_by_job ON submit_key (job);

-- Sums over all jobs, kept because every page shows them.
CREATE TABLE total (
    id          INTEGER PRIMARY KEY CHECK (id = 1),
    tasks_ended INTEGER NOT NULL
) STRICT;
INSERT INTO total (id, tasks_ended) VALUES (1, 0);

-- What viewers follow: live, late and reconnecting ones read the rows above the last they saw.
CREATE TABLE event (
    id      INTEGER PRIMARY KEY AUTOINCREMENT,
    at      INTEGER NOT NULL,
    job     INTEGER REFERENCES job DEFERRABLE INITIALLY DEFERRED,
    kind    TEXT    NOT NULL,
    message TEXT    NOT NULL
) STRICT;
CREATE INDEX event_by_job ON event (job, id);
