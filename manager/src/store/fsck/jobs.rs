//! What must hold of jobs, their tasks, chains, drafts, files and notices: each as a query that finds what
//! breaks it.

use crate::store::statements;

statements! {
    COUNTS = "SELECT 'job ' || id || ' counts ' || succeeded || ' succeeded and ' || failed
            || ' failed, its tasks say otherwise'
        FROM job
        WHERE succeeded <> (SELECT count(*) FROM task WHERE job = job.id AND state = 'succeeded')
            OR failed <> (SELECT count(*) FROM task WHERE job = job.id AND state = 'failed')";
    LEASED = "SELECT 'job ' || id || ' counts ' || leased || ' tasks that are on workers, its tasks say '
            || found
        FROM (SELECT id, leased, (SELECT count(*) FROM task INDEXED BY task_open
            WHERE job = job.id AND ended_at IS NULL AND task.state = 'leased') AS found FROM job)
        WHERE leased <> found";
    CANCELLED = "SELECT 'job ' || id || ' counts ' || cancelled || ' cancelled, fewer than its tasks say'
        FROM job
        WHERE cancelled < (SELECT count(*) FROM task WHERE job = job.id AND state = 'cancelled')";
    PROGRESS_COUNTS = "SELECT 'job ' || id || ' counts ' || succeeded || ' succeeded, ' || failed
            || ' failed and ' || cancelled || ' cancelled, its tasks in a row say otherwise'
        FROM job LEFT JOIN (SELECT job,
                sum(length(states) - length(replace(states, 's', ''))) AS good,
                sum(length(states) - length(replace(states, 'f', ''))) AS bad,
                sum(length(states) - length(replace(states, 'c', ''))) AS gone,
                sum(length(states) - length(replace(states, 'b', ''))) AS begun
            FROM progress GROUP BY job) ON job = id
        WHERE succeeded <> coalesce(good, 0) OR failed <> coalesce(bad, 0)
            OR cancelled <> coalesce(gone, 0) OR coalesce(begun, 0)
                <> (SELECT count(*) FROM task WHERE task.job = job.id AND ended_at IS NULL)";
    PROGRESS_ROWS = "SELECT 'row ' || chunk || ' of the tasks of job ' || job || ' has ' || length(states)
            || ' of them'
        FROM progress JOIN job ON job.id = progress.job
        WHERE length(states) <> min(512, tasks - chunk * 512)";
    PROGRESS_OF_TASKS = "SELECT 'task ' || task.job || '.' || idx || ' is ' || state
            || ', and in a row with others it is not'
        FROM task LEFT JOIN progress ON progress.job = task.job AND chunk = idx / 512
        WHERE coalesce(substr(states, idx % 512 + 1, 1), 'u')
            <> iif(ended_at IS NULL, 'b', substr(state, 1, 1))";
    OPEN_RUNS = "SELECT 'job ' || id || ' holds ' || open_runs || ' runs, its tasks may still have '
            || found
        FROM (SELECT id, open_runs, runs * (tasks - succeeded - failed - cancelled - begun)
                + left_of_begun AS found
            FROM (SELECT *, (SELECT count(*) FROM task INDEXED BY task_open
                    WHERE task.job = job.id AND ended_at IS NULL) AS begun,
                coalesce((SELECT sum(runs_left) FROM task INDEXED BY task_open
                    WHERE task.job = job.id AND ended_at IS NULL), 0) AS left_of_begun
            FROM job))
        WHERE open_runs <> found";
    RUNS_LEFT = "SELECT 'task ' || task.job || '.' || idx || ' may have ' || runs_left || ' more runs of '
            || job.runs
        FROM task JOIN job ON job.id = task.job WHERE runs_left > job.runs";
    STATES = "SELECT 'job ' || id || ' is ' || state || ' and has ended ' || ended || ' of ' || tasks
            || ' tasks' || iif(begun, ', some of which have begun', '')
        FROM (SELECT id, state, tasks, failed, cancelled, succeeded + failed + cancelled AS ended,
                EXISTS (SELECT 1 FROM task WHERE job = job.id) AS begun
            FROM job)
        WHERE state <> CASE
            WHEN tasks = 0 THEN 'draft'
            WHEN ended < tasks THEN iif(begun, 'running', 'queued')
            WHEN failed > 0 THEN 'failed'
            WHEN cancelled > 0 THEN 'cancelled'
            ELSE 'succeeded' END";
    TOTAL = "SELECT 'the total of ended tasks is ' || tasks_ended || ', the jobs say ' || ended
        FROM (SELECT tasks_ended, (SELECT coalesce(sum(succeeded + failed + cancelled), 0)
            FROM job) AS ended FROM total)
        WHERE tasks_ended <> ended";
    TOTAL_JOBS = "SELECT 'the total of jobs is ' || jobs || ', and there are ' || found
        FROM (SELECT jobs, (SELECT count(*) FROM job WHERE state <> 'draft') AS found FROM total)
        WHERE jobs <> found";
    LEASES = "SELECT 'task ' || job || '.' || idx || ' is ' || state || ' after ' || attempts
            || ' attempts, and its attempts say otherwise'
        FROM task
        WHERE attempts <> (SELECT coalesce(max(number), 0) FROM attempt
                WHERE attempt.job = task.job AND attempt.idx = task.idx)
            OR iif(state = 'leased', attempts, 0) <> (SELECT coalesce(sum(number), 0) FROM attempt
                WHERE attempt.job = task.job AND attempt.idx = task.idx AND ended_at IS NULL)";
    LEFT_OPEN = "SELECT 'job ' || task.job || ' has ended, its task ' || task.idx || ' has not'
        FROM task JOIN job ON job.id = task.job
        WHERE job.ended_at IS NOT NULL AND task.ended_at IS NULL";
    CHAINS = "SELECT 'job ' || waits_for.job || ' waits for job ' || other
            || CASE WHEN waits_for.job = other THEN ', which is itself'
                WHEN one.ended_at IS NOT NULL THEN ', and has ended itself'
                WHEN one.state = 'draft' OR two.state = 'draft' THEN ', and one of them is a draft'
                WHEN two.ended_at IS NOT NULL THEN ', which has ended'
                ELSE ', task for task, and has not as many' END
        FROM waits_for JOIN job AS one ON one.id = waits_for.job JOIN job AS two ON two.id = other
        WHERE waits_for.job = other OR one.state NOT IN ('queued', 'running')
            OR two.state NOT IN ('queued', 'running') OR (each AND one.tasks <> two.tasks)";
    DRAFTS = "SELECT 'job ' || id || ' is a draft, and nothing says of what' FROM job
        WHERE state = 'draft' AND NOT EXISTS (SELECT 1 FROM draft WHERE draft.job = job.id)
        UNION ALL SELECT 'job ' || job || ' is launched, and still a draft'
        FROM draft JOIN job ON job.id = draft.job WHERE job.state <> 'draft'";
    SPECS = "SELECT 'nothing says what job ' || id || ' runs' FROM job
        WHERE state <> 'draft' AND NOT EXISTS (SELECT 1 FROM job_spec WHERE job_spec.job = job.id)";
    STORED = "SELECT 'job ' || id || ' counts ' || stored_bytes || ' bytes that it keeps, and has ' || found
        FROM (SELECT id, stored_bytes,
                coalesce((SELECT sum(size) FROM file WHERE file.job = job.id), 0)
                + coalesce((SELECT sum(size) FROM output WHERE output.job = job.id), 0)
                + coalesce((SELECT sum(size) FROM checkpoint_file
                    WHERE checkpoint_file.job = job.id), 0)
                + coalesce((SELECT sum(size) FROM vote_output WHERE vote_output.job = job.id), 0)
                + coalesce((SELECT sum(size) FROM log
                    WHERE log.job = job.id AND hash IS NOT NULL), 0) AS found
            FROM job)
        WHERE stored_bytes <> found";
    MANIFESTS = "SELECT 'job ' || job.id || ' brings files, and has no list of them' FROM job
        JOIN job_spec ON job_spec.job = job.id
        WHERE emptied_at IS NULL AND (manifest IS NULL)
            <> (json_extract(job_spec.spec, '$.inputs') IS NULL)
        UNION ALL SELECT 'job ' || job.id || ' has files that its tasks do not see' FROM job
        WHERE state <> 'draft' AND manifest IS NULL
            AND EXISTS (SELECT 1 FROM file WHERE file.job = job.id)";
    EMPTIED = "SELECT 'job ' || id || ' was emptied, and still has files or logs' FROM job
        WHERE emptied_at IS NOT NULL AND (manifest IS NOT NULL
            OR EXISTS (SELECT 1 FROM file WHERE file.job = job.id)
            OR EXISTS (SELECT 1 FROM output WHERE output.job = job.id)
            OR EXISTS (SELECT 1 FROM log WHERE log.job = job.id))";
    NOTICES = "SELECT 'a notice says of job ' || job || ' that it has ' || notice.kind || ', and it has not'
        FROM notice JOIN job ON job.id = notice.job
        WHERE CASE notice.kind WHEN 'ended' THEN job.ended_at IS NULL WHEN 'failed' THEN failed = 0
            ELSE NOT EXISTS (SELECT 1 FROM task WHERE task.job = job.id) END";
}

/// All of them.
pub(super) const INVARIANTS: &[&str] = &[
    COUNTS,
    LEASED,
    CANCELLED,
    PROGRESS_COUNTS,
    PROGRESS_ROWS,
    PROGRESS_OF_TASKS,
    OPEN_RUNS,
    RUNS_LEFT,
    STATES,
    TOTAL,
    TOTAL_JOBS,
    LEASES,
    LEFT_OPEN,
    CHAINS,
    DRAFTS,
    SPECS,
    STORED,
    MANIFESTS,
    EMPTIED,
    NOTICES,
];
