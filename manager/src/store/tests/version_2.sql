-- What a manager of version 2 left behind, made by that version: two people who are logged in, a laptop
-- and a machine that was removed, and jobs that have ended, run, wait and are being cancelled. The tables
-- are those of migrations/0001_grid.sql and 0002_sandboxes.sql.

BEGIN;
INSERT INTO user (id, name, email, role, password_hash, registered_at) VALUES
    (1, 'ada', NULL, 'operator', 'x', 1700000001000),
    (2, 'bob', NULL, 'member', 'x', 1700000002000);

INSERT INTO login (token_hash, user, until) VALUES
    (X'0101010101010101010101010101010101010101010101010101010101010101', 1, 1700086400000),
    (X'0202020202020202020202020202020202020202020202020202020202020202', 2, 1700086500000);

INSERT INTO account (id, balance, earned, spent) VALUES
    (1, -200000000, 0, 0),
    (2, 76500000, 0, 0),
    (1001, 15991666, 0, 7508334),
    (1002, 107508334, 7508334, 0);

INSERT INTO transfer (id, key, debit, credit, amount, at, job, hash) VALUES
    (1, 'grant:1', 1, 1001, 100000000, 1700000001000, NULL, X'1e3f55a3a3e8558d4dd487de441c7225c51e2b07bc511b188115791a3416a53d'),
    (2, 'grant:2', 1, 1002, 100000000, 1700000002000, NULL, X'b5efb75b564fa80867816d40cc64c7a6f239255d6a27aefbd6b1c852db0af1e8'),
    (3, 'hold:1', 1001, 2, 8500000, 1700000010000, 1, X'07c786affe562890832bc5bbe113cefa3d9b0194096592d4545def80e6827bf1'),
    (4, 'pay:1.0:1', 2, 1002, 7508334, 1700000013000, 1, X'a8177432efb1ffe4051792987df4eae7b512331b1b2f7ecf024e17895bfe2047'),
    (5, 'refund:1.0', 2, 1001, 991666, 1700000013000, 1, X'1ac8464ea4511e4bf2e072061942d4ee65caad0df99d5ef250798ef5634985a5'),
    (6, 'hold:2', 1001, 2, 41000000, 1700000014000, 2, X'7aca5fdd55d6f7e9a511e9eaf6b7d39d0ff59426cb2f62c8dd43af104ad4b9e7'),
    (7, 'hold:3', 1001, 2, 25500000, 1700000018000, 3, X'f4bb5b0540fc0b173c64ab90d0168d0db619a322da6d49ad61e138a93d71ba46'),
    (8, 'refund:3.2-3', 2, 1001, 8500000, 1700000020000, 3, X'251c911b9cfbc28e166e7b2ecaba866a251b25ebd8e81e4f5604649904acdc76'),
    (9, 'hold:4', 1001, 2, 18500000, 1700000021000, 4, X'edb22f931e7ab128e89122f0e8f85048d8ce97b3582a977a7bbb2c635f4f2898');

INSERT INTO job (id, owner, name, spec, tasks, quote, submitted_at, untouched_from, succeeded, failed, cancelled, charged, ended_at, lock) VALUES
    (1, 1, 'ended python', '{"work":{"python":{"source":"1","packages":{"names":{"requirements":["numpy"],"requires_python":null}}}},"needs":{"cpu_millis":1000,"ram_mib":512,"disk_mib":16,"gpus":0,"gpu_memory_mib":0},"time_limit_s":60,"isolation":"full","labels":[],"image":null,"shared_tmp":false,"tasks":1}', 1, 8500000, 1700000010000, 1, 1, 0, 0, 7508334, 1700000013000, 'numpy==2.1 --hash=sha256:0000000000000000000000000000000000000000000000000000000000000000
'),
    (2, 1, 'open array', '{"work":{"shell":{"command":"true"}},"needs":{"cpu_millis":2000,"ram_mib":512,"disk_mib":16,"gpus":1,"gpu_memory_mib":0},"time_limit_s":60,"isolation":"full","labels":["R"],"image":null,"shared_tmp":false,"tasks":2}', 2, 20500000, 1700000014000, 2, 0, 0, 0, 0, NULL, NULL),
    (3, 1, 'cancelled array', '{"work":{"shell":{"command":"true"}},"needs":{"cpu_millis":1000,"ram_mib":512,"disk_mib":16,"gpus":0,"gpu_memory_mib":0},"time_limit_s":60,"isolation":"full","labels":[],"image":null,"shared_tmp":false,"tasks":3}', 3, 8500000, 1700000018000, 3, 0, 0, 1, 0, NULL, NULL),
    (4, 1, 'waits', '{"work":{"shell":{"command":"true"}},"needs":{"cpu_millis":6000,"ram_mib":512,"disk_mib":16,"gpus":0,"gpu_memory_mib":0},"time_limit_s":60,"isolation":"full","labels":[],"image":null,"shared_tmp":false,"tasks":1}', 1, 18500000, 1700000021000, 0, 0, 0, 0, 0, NULL, NULL);

INSERT INTO task (job, idx, attempts, tries_left, state, reason, left_behind, charged, ended_at) VALUES
    (1, 0, 1, 3, 'succeeded', '', '', 7508334, 1700000013000),
    (2, 0, 2, 2, 'leased', '', '', 0, NULL),
    (2, 1, 1, 3, 'leased', '', '', 0, NULL),
    (3, 0, 1, 3, 'leased', '', '', 0, NULL),
    (3, 1, 1, 3, 'leased', '', '', 0, NULL);

INSERT INTO attempt (job, idx, number, worker, leased_at, started_at, cancelling, ended_at, outcome, run_ms, cpu_ms, ram_peak_mib, charged, gpus) VALUES
    (1, 0, 1, 2, 1700000010000, 1700000012000, 0, 1700000013000, 'succeeded', 500, 400, 5, 7508334, ''),
    (2, 0, 1, 2, 1700000014000, 1700000015000, 0, 1700000016000, 'the worker''s sandbox failed: no namespaces', 0, 0, 0, 0, '0'),
    (2, 0, 2, 2, 1700000016000, 1700000017000, 0, NULL, NULL, 0, 0, 0, 0, '0'),
    (2, 1, 1, 2, 1700000014000, NULL, 0, NULL, NULL, 0, 0, 0, 0, '1'),
    (3, 0, 1, 2, 1700000018000, 1700000019000, 1, NULL, NULL, 0, 0, 0, 0, ''),
    (3, 1, 1, 2, 1700000018000, NULL, 1, NULL, NULL, 0, 0, 0, 0, '');

INSERT INTO log (job, idx, stream, content, hash, size, cut_bytes) VALUES
    (1, 0, 'stderr', X'', NULL, 0, 0),
    (1, 0, 'stdout', X'', NULL, 0, 0);

INSERT INTO output (job, idx, path, hash, size) VALUES
    (1, 0, 'out.txt', X'0909090909090909090909090909090909090909090909090909090909090909', 10);

INSERT INTO worker (id, key_hash, name, owner, approved_at, removed_at) VALUES
    (1, X'0101010101010101010101010101010101010101010101010101010101010101', 'old desk', 2, 1700000006000, 1700000007000),
    (2, X'0202020202020202020202020202020202020202020202020202020202020202', 'laptop', 2, 1700000009000, NULL);

INSERT INTO submit_key (owner, key, job, held, until, body) VALUES
    (1, 'key-1', 1, 8500000, 1700086410000, X'ee9dc645eee54bcd019b16622bbe31b0ca0e5943e10e08c5100499ab4a015c7a'),
    (1, 'key-2', 2, 41000000, 1700086414000, X'2d0da0e9e7745d726c7c7cb37c0e8788c2d057c14e73733926b0f4f2c1257cd0'),
    (1, 'key-3', 3, 25500000, 1700086418000, X'7e294ae5bde000cae724b7f19e178cd3d8d3dcaad138b63d02978305e4cae997'),
    (1, 'key-4', 4, 18500000, 1700086421000, X'82c14955b3a78d4ff55778c2c633e3bb7543bfae7beabfcc246ad34937a27910');

UPDATE total SET tasks_ended = 2;
INSERT INTO event (id, at, job, kind, message) VALUES
    (1, 1700000001000, NULL, 'user.registered', 'ada registered'),
    (2, 1700000002000, NULL, 'user.registered', 'bob registered'),
    (3, 1700000006000, NULL, 'worker.approved', 'worker old desk joined'),
    (4, 1700000007000, NULL, 'worker.removed', 'worker 1 removed'),
    (5, 1700000009000, NULL, 'worker.approved', 'worker laptop joined'),
    (6, 1700000010000, 1, 'job.submitted', '1 tasks submitted'),
    (7, 1700000010000, 1, 'task.leased', 'task 0 given to worker 2'),
    (8, 1700000011000, 1, 'job.locked', 'its packages came to 1 in all'),
    (9, 1700000012000, 1, 'attempt.started', 'task 0 started'),
    (10, 1700000013000, 1, 'task.ended', 'task 0: succeeded'),
    (11, 1700000013000, 1, 'job.ended', 'all tasks have ended'),
    (12, 1700000014000, 2, 'job.submitted', '2 tasks submitted'),
    (13, 1700000014000, 2, 'task.leased', 'task 0 given to worker 2'),
    (14, 1700000014000, 2, 'task.leased', 'task 1 given to worker 2'),
    (15, 1700000015000, 2, 'attempt.started', 'task 0 started'),
    (16, 1700000016000, 2, 'task.requeued', 'task 0 waits again: the worker''s sandbox failed: no namespaces'),
    (17, 1700000016000, 2, 'task.leased', 'task 0 given to worker 2'),
    (18, 1700000017000, 2, 'attempt.started', 'task 0 started'),
    (19, 1700000018000, 3, 'job.submitted', '3 tasks submitted'),
    (20, 1700000018000, 3, 'task.leased', 'task 0 given to worker 2'),
    (21, 1700000018000, 3, 'task.leased', 'task 1 given to worker 2'),
    (22, 1700000019000, 3, 'attempt.started', 'task 0 started'),
    (23, 1700000020000, 3, 'tasks.cancelled', '1 waiting tasks cancelled'),
    (24, 1700000021000, 4, 'job.submitted', '1 tasks submitted');
COMMIT;
