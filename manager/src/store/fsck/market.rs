//! What must hold of jobs that are sold by bids, of checkpoints, and of results that are checked: each as a
//! query that finds what breaks it.

use crate::store::statements;

statements! {
    MARKETS = "SELECT 'job ' || job || ' ' || CASE
                WHEN tasks <> 1 OR runs <> 1 THEN 'is sold by bids, and has more than one run'
                WHEN stage = 'open' AND ended THEN 'takes bids, and has ended'
                WHEN stage = 'open' AND leased > 0 THEN 'takes bids, and runs'
                WHEN stage = 'open' AND sale = 'hand' AND quote > 0 THEN 'takes bids, and has a quote'
                WHEN stage = 'over' AND NOT ended THEN 'takes no bids, and has not ended'
                ELSE 'closes by itself, and is to be sold by hand, or the other way' END
        FROM (SELECT market.job, tasks, runs, leased, quote, stage, sale, closes_at,
                job.ended_at IS NOT NULL AS ended
            FROM market JOIN job ON job.id = market.job)
        WHERE tasks <> 1 OR runs <> 1 OR (stage = 'open' AND (ended OR leased > 0
                OR (sale = 'hand' AND quote > 0)))
            OR (stage = 'over') > ended OR (closes_at IS NOT NULL) <> (stage = 'open' AND sale = 'rule')";
    AWARDS = "SELECT 'job ' || job || ' is awarded to worker ' || worker || ', its bids say '
            || iif(won = 0, 'to nobody', iif(won = 1, 'to another', 'to ' || won))
        FROM (SELECT market.job, market.worker, stage,
                (SELECT count(*) FROM bid WHERE bid.job = market.job AND bid.round = market.round
                    AND state = 'accepted') AS won,
                (SELECT count(*) FROM bid WHERE bid.job = market.job AND bid.round = market.round
                    AND state = 'accepted' AND bid.worker = market.worker) AS right
            FROM market)
        WHERE iif(stage = 'awarded', 1, 0) <> won OR won <> right";
    STANDING = "SELECT 'a bid stands on job ' || bid.job || ' of its round ' || bid.round
            || ', and it is ' || stage || ' in round ' || market.round
        FROM bid INDEXED BY bid_open JOIN market ON market.job = bid.job
        WHERE state = 'open' AND (stage <> 'open' OR bid.round <> market.round)";
    OWN_BIDS = "SELECT 'worker ' || bid.worker || ' bids on job ' || bid.job || ' of its owner'
        FROM bid JOIN job ON job.id = bid.job WHERE bid.owner = job.owner";
    ELSEWHERE = "SELECT 'job ' || market.job || ' is awarded to worker ' || market.worker
            || ', and runs on worker ' || attempt.worker
        FROM market JOIN attempt ON attempt.job = market.job
        WHERE attempt.ended_at IS NULL AND attempt.worker <> market.worker";
    DEALS = "SELECT 'attempt ' || job.id || '.' || idx || '#' || number || ' runs for ' || price
            || ', more than the quote of ' || quote
        FROM job JOIN attempt ON attempt.job = job.id
        WHERE job.leased > 0 AND attempt.ended_at IS NULL AND price > quote
            AND NOT EXISTS (SELECT 1 FROM market WHERE market.job = job.id AND round > 0)";
    PAID = "SELECT 'job ' || id || ' has paid ' || paid || ' of its open runs, its tasks say ' || found
        FROM (SELECT id, paid, coalesce((SELECT sum(task.paid) FROM task INDEXED BY task_open
            WHERE task.job = job.id AND ended_at IS NULL), 0) AS found FROM job)
        WHERE paid <> found";
    CHECKPOINTS = "SELECT 'task ' || job || '.' || idx || ' has ended, and keeps a checkpoint' FROM task
        WHERE checkpoint IS NOT NULL AND ended_at IS NOT NULL
        UNION ALL SELECT 'task ' || job || '.' || idx || ' has ended, and still holds or has paid something'
        FROM task WHERE ended_at IS NOT NULL AND (audit > 0 OR paid > 0)
        UNION ALL SELECT 'file ' || path || ' is of the checkpoint of task ' || task.job || '.' || task.idx
            || ', which has none'
        FROM checkpoint_file JOIN task ON task.job = checkpoint_file.job AND task.idx = checkpoint_file.idx
        WHERE checkpoint IS NULL";
    VOTES = "SELECT 'attempt ' || vote.job || '.' || vote.idx || '#' || vote.attempt
            || ' has a result that is checked, and ' || iif(attempt.ended_at IS NULL, 'runs',
                'was on worker ' || attempt.worker || ' and not on ' || vote.worker)
        FROM vote JOIN attempt ON attempt.job = vote.job AND attempt.idx = vote.idx
            AND attempt.number = vote.attempt
        WHERE attempt.ended_at IS NULL OR attempt.worker <> vote.worker
        UNION ALL SELECT 'task ' || one.job || '.' || one.idx || ' is checked by two machines of user '
            || one.owner
        FROM vote AS one JOIN vote AS two ON two.job = one.job AND two.idx = one.idx
            AND two.place = 1
        WHERE one.place = 0 AND one.owner = two.owner
        UNION ALL SELECT 'task ' || vote_output.job || '.' || vote_output.idx
            || ' has ended, and keeps what may not count'
        FROM vote_output JOIN task ON task.job = vote_output.job AND task.idx = vote_output.idx
        WHERE task.ended_at IS NOT NULL";
}

/// All of them.
pub(super) const INVARIANTS: &[&str] =
    &[MARKETS, AWARDS, STANDING, OWN_BIDS, ELSEWHERE, DEALS, PAID, CHECKPOINTS, VOTES];
