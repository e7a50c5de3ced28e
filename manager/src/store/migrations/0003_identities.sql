-- Version 3 of the protocol: machines have certificates of the manager's own authority, and people
-- have vouchers, API tokens, and a list of their logins.
--
-- Machines that joined before have no certificate, and a secret of theirs, sent in the clear, is worth
-- nothing any more. They are removed here, so that they are approved anew, under new numbers; what ran
-- on them waits again at its old place and has lost no try. Rewrites a row for each login, each machine
-- and each task that ran, thousands at most: within a second.

-- A secret that lets machines or people in. Goes when it is used up, out of date or revoked; no number
-- is given out twice.
CREATE TABLE voucher (
    id          INTEGER PRIMARY KEY AUTOINCREMENT,
    purpose     TEXT    NOT NULL CHECK (purpose IN ('join', 'invitation')),
    -- As whose machine one joins, or who invites.
    user        INTEGER NOT NULL REFERENCES user DEFERRABLE INITIALLY DEFERRED,
    secret_hash BLOB    NOT NULL CHECK (length(secret_hash) = 32),
    uses_left   INTEGER NOT NULL CHECK (uses_left BETWEEN 1 AND 10000),
    made_at     INTEGER NOT NULL,
    until       INTEGER NOT NULL
) STRICT;
CREATE INDEX voucher_by_user ON voucher (user, id);

CREATE TABLE api_token (
    id          INTEGER PRIMARY KEY AUTOINCREMENT,
    token_hash  BLOB    NOT NULL UNIQUE CHECK (length(token_hash) = 32),
    user        INTEGER NOT NULL REFERENCES user DEFERRABLE INITIALLY DEFERRED,
    name        TEXT    NOT NULL,
    may_read    INTEGER NOT NULL CHECK (may_read IN (0, 1)),
    may_submit  INTEGER NOT NULL CHECK (may_submit IN (0, 1)),
    may_own     INTEGER NOT NULL CHECK (may_own IN (0, 1)),
    may_operate INTEGER NOT NULL CHECK (may_operate IN (0, 1)),
    made_at     INTEGER NOT NULL,
    until       INTEGER NOT NULL,
    used_at     INTEGER
) STRICT;
CREATE INDEX api_token_by_user ON api_token (user, id);

-- Logins get numbers, by which they are listed and revoked. When those that are open began is not
-- known: it was by the time of the newest event.
CREATE TABLE numbered_login (
    id         INTEGER PRIMARY KEY AUTOINCREMENT,
    token_hash BLOB    NOT NULL UNIQUE CHECK (length(token_hash) = 32),
    user       INTEGER NOT NULL REFERENCES user DEFERRABLE INITIALLY DEFERRED,
    opened_at  INTEGER NOT NULL,
    until      INTEGER NOT NULL,
    used_at    INTEGER NOT NULL,
    -- An address and a browser, in words.
    came_from  TEXT    NOT NULL
) STRICT;
INSERT INTO numbered_login (token_hash, user, opened_at, until, used_at, came_from)
SELECT token_hash, user, newest.at, until, newest.at, 'before the manager was updated'
FROM login, (SELECT coalesce((SELECT at FROM event ORDER BY id DESC LIMIT 1), 0) AS at) AS newest
ORDER BY until;
DROP TABLE login;
ALTER TABLE numbered_login RENAME TO login;
CREATE INDEX login_by_user ON login (user, id);
CREATE INDEX login_by_end ON login (until);

-- Why the machine gets no tasks until somebody says so.
ALTER TABLE worker ADD COLUMN set_aside TEXT;

-- The first loss on each of the machines that were lost while they ran the task: WORKER#ATTEMPT, two
-- of them at most, such as '7#1,9#3'.
ALTER TABLE task ADD COLUMN losses TEXT NOT NULL DEFAULT ''
    CHECK (losses NOT GLOB '*[^0-9,#]*');

-- What waits of the job is to be cancelled once credits may be moved again.
ALTER TABLE job ADD COLUMN cancelling INTEGER NOT NULL DEFAULT 0 CHECK (cancelling IN (0, 1));

-- No job gets a number up to this one: a restored backup does not know the jobs that came after it,
-- but workers may.
ALTER TABLE total ADD COLUMN jobs_from INTEGER NOT NULL DEFAULT 0;

UPDATE job SET cancelling = 1
WHERE id IN (SELECT job FROM attempt WHERE ended_at IS NULL AND cancelling = 1);

INSERT INTO event (at, job, kind, message)
SELECT newest.at, task.job, 'task.requeued',
    'task ' || task.idx || ' waits again: the manager was updated, and its worker has to join anew'
FROM task, (SELECT coalesce((SELECT at FROM event ORDER BY id DESC LIMIT 1), 0) AS at) AS newest
WHERE task.state = 'leased'
ORDER BY task.job, task.idx;

UPDATE attempt SET
    ended_at = (SELECT coalesce((SELECT at FROM event ORDER BY id DESC LIMIT 1), 0)),
    outcome = 'the manager was updated, and the worker has to join anew'
WHERE ended_at IS NULL;

UPDATE task SET state = 'queued' WHERE state = 'leased';

INSERT INTO event (at, kind, message)
SELECT newest.at, 'worker.removed',
    'worker ' || worker.id || ' removed: it joined before machines had certificates'
FROM worker, (SELECT coalesce((SELECT at FROM event ORDER BY id DESC LIMIT 1), 0) AS at) AS newest
WHERE worker.removed_at IS NULL
ORDER BY worker.id;

UPDATE worker
SET removed_at = (SELECT coalesce((SELECT at FROM event ORDER BY id DESC LIMIT 1), 0))
WHERE removed_at IS NULL;
