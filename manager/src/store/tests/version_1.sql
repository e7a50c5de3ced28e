-- What a manager of version 1 left behind, made by that version: two people, a laptop, seven jobs of
-- each kind, three of which have ended. The tables are those of migrations/0001_grid.sql.

BEGIN;
INSERT INTO user (id, name, email, role, password_hash, registered_at) VALUES
    (1, 'ada', NULL, 'operator', 'x', 1700000001000),
    (2, 'bob', NULL, 'member', 'x', 1700000002000);

INSERT INTO account (id, balance, earned, spent) VALUES
    (1, -2000000000, 0, 0),
    (2, 89500000, 0, 0),
    (1001, 880466664, 0, 30033336),
    (1002, 1030033336, 30033336, 0);

INSERT INTO transfer (id, key, debit, credit, amount, at, job, hash) VALUES
    (1, 'grant:1', 1, 1001, 1000000000, 1700000001000, NULL, X'e8b255ac87980da264dd9ec148512f825fb91021765749d441179236cb6bd4fc'),
    (2, 'grant:2', 1, 1002, 1000000000, 1700000002000, NULL, X'02d2a43673f011713848a8e6b6468320c05428ca1d892d8af617489538da1235'),
    (3, 'hold:1', 1001, 2, 8500000, 1700000005000, 1, X'95c5123cac92dcde7f74b550b913cc695176b2d1305d3704734ec529495645c3'),
    (4, 'pay:1.0:1', 2, 1002, 7508334, 1700000007000, 1, X'56ca94be088e0dada049a3ee13e03ba3020e4a496a283b4fc5aab074f9f4d6f2'),
    (5, 'refund:1.0', 2, 1001, 991666, 1700000007000, 1, X'51f70fa67d30066c913a5b8858db7a95232e64491a60c96da39caf9c4c26e210'),
    (6, 'hold:2', 1001, 2, 8500000, 1700000008000, 2, X'352ff274dd31a6d6a29d726544543dae858d68bd992c8d4849dae707ea3a4b32'),
    (7, 'pay:2.0:1', 2, 1002, 7508334, 1700000010000, 2, X'35c58ed9a3e965f76b5a8fb376f116b60b6a81d538661757929d6b7cafbfd30e'),
    (8, 'refund:2.0', 2, 1001, 991666, 1700000010000, 2, X'51e07f08bf70b5f99e911038719b381bbd56b234c638d999b867fbea3fd5573a'),
    (9, 'hold:3', 1001, 2, 17000000, 1700000011000, 3, X'd454013fb609d7cd4361430b98e8d31c91bd97e81f04ed50bbd439cdfe8229fa'),
    (10, 'pay:3.0:1', 2, 1002, 7508334, 1700000013000, 3, X'b74de4b2d25f80e7624f273d19c19f49a3877b810e0342d9fb18ff1e4ecb2ab0'),
    (11, 'refund:3.0', 2, 1001, 991666, 1700000013000, 3, X'2e1e5a7b716a838180a9f4dff2edd81e0bd4e195880ffe1e183ccc568b6a7f84'),
    (12, 'pay:3.1:1', 2, 1002, 7508334, 1700000015000, 3, X'a5ae2fbeb92e2207eb7abb8f6093d5cc5a22c930a4937c559634971813134243'),
    (13, 'refund:3.1', 2, 1001, 991666, 1700000015000, 3, X'ff8c8116baf86f155737f75548e3220e42ea03e8c095d2df69d0a1a7f019391c'),
    (14, 'hold:4', 1001, 2, 55500000, 1700000016000, 4, X'556c485a795c10f746aca2761bfd2523d03832c34f531b50f05fec1772a1d549'),
    (15, 'hold:5', 1001, 2, 8500000, 1700000017000, 5, X'b855c05f30be159192ac396e882cc2d2de251943adf853d40a906b84ae5fa17c'),
    (16, 'hold:6', 1001, 2, 8500000, 1700000018000, 6, X'95222f8da531fbace00f870e22bcd400fc495f206eee5de804913563227d7a59'),
    (17, 'hold:7', 1001, 2, 17000000, 1700000019000, 7, X'4a46fa3c0ba1fc8504aea7262ed321a71519ea8c5d404b61613f411f38bd0df3');

INSERT INTO job (id, owner, name, spec, tasks, quote, submitted_at, untouched_from, succeeded, failed, cancelled, charged, ended_at) VALUES
    (1, 1, 'ended python', '{"work":{"python":{"source":"print(''hé'')\n","requirements":["numpy==2.1","scikit-learn>=1.5; python_version > ''3.9''"]}},"needs":{"cpu_millis":1000,"ram_mib":512,"disk_mib":16,"gpus":0,"gpu_memory_mib":0},"time_limit_s":60,"isolation":"full","tasks":1}', 1, 8500000, 1700000005000, 1, 1, 0, 0, 7508334, 1700000007000),
    (2, 1, 'ended c', '{"work":{"c":{"source":"int main(){return 0;}"}},"needs":{"cpu_millis":1000,"ram_mib":512,"disk_mib":16,"gpus":0,"gpu_memory_mib":0},"time_limit_s":60,"isolation":"full","tasks":1}', 1, 8500000, 1700000008000, 1, 1, 0, 0, 7508334, 1700000010000),
    (3, 1, 'failed shell', '{"work":{"shell":{"command":"echo \"a\\b\" | cat"}},"needs":{"cpu_millis":1000,"ram_mib":512,"disk_mib":16,"gpus":0,"gpu_memory_mib":0},"time_limit_s":60,"isolation":"full","tasks":2}', 2, 8500000, 1700000011000, 2, 0, 2, 0, 15016668, 1700000015000),
    (4, 1, 'open python', '{"work":{"python":{"source":"print(''hé'')\n","requirements":["numpy"]}},"needs":{"cpu_millis":1000,"ram_mib":512,"disk_mib":16,"gpus":1,"gpu_memory_mib":0},"time_limit_s":60,"isolation":"full","tasks":3}', 3, 18500000, 1700000016000, 1, 0, 0, 0, 0, NULL),
    (5, 1, 'bare python', '{"work":{"python":{"source":"print(''hé'')\n","requirements":[]}},"needs":{"cpu_millis":1000,"ram_mib":512,"disk_mib":16,"gpus":0,"gpu_memory_mib":0},"time_limit_s":60,"isolation":"full","tasks":1}', 1, 8500000, 1700000017000, 1, 0, 0, 0, 0, NULL),
    (6, 1, 'open c', '{"work":{"c":{"source":"int main(){}"}},"needs":{"cpu_millis":1000,"ram_mib":512,"disk_mib":16,"gpus":0,"gpu_memory_mib":0},"time_limit_s":60,"isolation":"full","tasks":1}', 1, 8500000, 1700000018000, 1, 0, 0, 0, 0, NULL),
    (7, 1, 'open shell', '{"work":{"shell":{"command":"true"}},"needs":{"cpu_millis":1000,"ram_mib":512,"disk_mib":16,"gpus":0,"gpu_memory_mib":0},"time_limit_s":60,"isolation":"full","tasks":2}', 2, 8500000, 1700000019000, 0, 0, 0, 0, 0, NULL);

INSERT INTO task (job, idx, attempts, tries_left, state, reason, left_behind, charged, ended_at) VALUES
    (1, 0, 1, 3, 'succeeded', '', '', 7508334, 1700000007000),
    (2, 0, 1, 3, 'succeeded', '', '', 7508334, 1700000010000),
    (3, 0, 1, 3, 'failed', 'ended with exit code 3', '', 7508334, 1700000013000),
    (3, 1, 1, 3, 'failed', 'ended with exit code 3', '', 7508334, 1700000015000),
    (4, 0, 2, 2, 'leased', '', '', 0, NULL),
    (5, 0, 1, 3, 'leased', '', '', 0, NULL),
    (6, 0, 1, 3, 'leased', '', '', 0, NULL);

INSERT INTO attempt (job, idx, number, worker, leased_at, started_at, cancelling, ended_at, outcome, run_ms, cpu_ms, ram_peak_mib, charged) VALUES
    (1, 0, 1, 1, 1700000005000, 1700000006000, 0, 1700000007000, 'succeeded', 500, 400, 5, 7508334),
    (2, 0, 1, 1, 1700000008000, 1700000009000, 0, 1700000010000, 'succeeded', 500, 400, 5, 7508334),
    (3, 0, 1, 1, 1700000011000, 1700000012000, 0, 1700000013000, 'ended with exit code 3', 500, 400, 5, 7508334),
    (3, 1, 1, 1, 1700000011000, 1700000014000, 0, 1700000015000, 'ended with exit code 3', 500, 400, 5, 7508334),
    (4, 0, 1, 1, 1700000016000, 1700000020000, 0, 1700000021000, 'the worker could not build the environment: the disk is full', 0, 0, 0, 0),
    (4, 0, 2, 1, 1700000021000, NULL, 0, NULL, NULL, 0, 0, 0, 0),
    (5, 0, 1, 1, 1700000017000, 1700000022000, 0, NULL, NULL, 0, 0, 0, 0),
    (6, 0, 1, 1, 1700000018000, NULL, 0, NULL, NULL, 0, 0, 0, 0);

INSERT INTO log (job, idx, stream, content, hash, size, cut_bytes) VALUES
    (1, 0, 'stderr', X'', NULL, 0, 0),
    (1, 0, 'stdout', X'68690a', NULL, 3, 0),
    (2, 0, 'stderr', X'', NULL, 0, 0),
    (2, 0, 'stdout', X'68690a', NULL, 3, 0),
    (3, 0, 'stderr', X'', NULL, 0, 0),
    (3, 0, 'stdout', X'68690a', NULL, 3, 0),
    (3, 1, 'stderr', X'', NULL, 0, 0),
    (3, 1, 'stdout', X'68690a', NULL, 3, 0);

INSERT INTO output (job, idx, path, hash, size) VALUES
    (1, 0, 'out.txt', X'0909090909090909090909090909090909090909090909090909090909090909', 10),
    (2, 0, 'out.txt', X'0909090909090909090909090909090909090909090909090909090909090909', 10),
    (3, 0, 'out.txt', X'0909090909090909090909090909090909090909090909090909090909090909', 10),
    (3, 1, 'out.txt', X'0909090909090909090909090909090909090909090909090909090909090909', 10);

INSERT INTO worker (id, key_hash, name, owner, approved_at, removed_at) VALUES
    (1, X'0707070707070707070707070707070707070707070707070707070707070707', 'laptop', 2, 1700000004000, NULL);

INSERT INTO submit_key (owner, key, job, held, until, body) VALUES
    (1, 'key-1', 1, 8500000, 1700086405000, X'4ac802a9615db6856191fd604d7a0c03dee988828d6b49d164948ed4fae1842d'),
    (1, 'key-2', 2, 8500000, 1700086408000, X'73aa6c1fe262b8b0f9a2f173ae4945ecd6ab5a330ea2ebfcb59a9566db9107f8'),
    (1, 'key-3', 3, 17000000, 1700086411000, X'2d9e5d40db150927c8ed853c6a13b8c07728973f6b20bcf3332e28fa03b98e74'),
    (1, 'key-4', 4, 55500000, 1700086416000, X'e0063ed7e1d3079d37aff4d2534c9c90b75e1ce0b9fa06db8b94dd012c40ded1'),
    (1, 'key-5', 5, 8500000, 1700086417000, X'535ed05ab12ceed4c859090007ac109507c1b50fd321cee5ad6033124ec72957'),
    (1, 'key-6', 6, 8500000, 1700086418000, X'fc5d2f8bdb7273e4d772361c26dc50f419d9e2698b9491a00fa852b7ede345ec'),
    (1, 'key-7', 7, 17000000, 1700086419000, X'f454c424ac5a62406fea08bdc662a94672941d0bf4fcd24445ec61a81422a095');

UPDATE total SET tasks_ended = 4;
INSERT INTO event (id, at, job, kind, message) VALUES
    (1, 1700000001000, NULL, 'user.registered', 'ada registered'),
    (2, 1700000002000, NULL, 'user.registered', 'bob registered'),
    (3, 1700000004000, NULL, 'worker.approved', 'worker laptop joined'),
    (4, 1700000005000, 1, 'job.submitted', '1 tasks submitted'),
    (5, 1700000005000, 1, 'task.leased', 'task 0 given to worker 1'),
    (6, 1700000006000, 1, 'attempt.started', 'task 0 started'),
    (7, 1700000007000, 1, 'task.ended', 'task 0: succeeded'),
    (8, 1700000007000, 1, 'job.ended', 'all tasks have ended'),
    (9, 1700000008000, 2, 'job.submitted', '1 tasks submitted'),
    (10, 1700000008000, 2, 'task.leased', 'task 0 given to worker 1'),
    (11, 1700000009000, 2, 'attempt.started', 'task 0 started'),
    (12, 1700000010000, 2, 'task.ended', 'task 0: succeeded'),
    (13, 1700000010000, 2, 'job.ended', 'all tasks have ended'),
    (14, 1700000011000, 3, 'job.submitted', '2 tasks submitted'),
    (15, 1700000011000, 3, 'task.leased', 'task 0 given to worker 1'),
    (16, 1700000011000, 3, 'task.leased', 'task 1 given to worker 1'),
    (17, 1700000012000, 3, 'attempt.started', 'task 0 started'),
    (18, 1700000013000, 3, 'task.ended', 'task 0: ended with exit code 3'),
    (19, 1700000014000, 3, 'attempt.started', 'task 1 started'),
    (20, 1700000015000, 3, 'task.ended', 'task 1: ended with exit code 3'),
    (21, 1700000015000, 3, 'job.ended', 'all tasks have ended'),
    (22, 1700000016000, 4, 'job.submitted', '3 tasks submitted'),
    (23, 1700000016000, 4, 'task.leased', 'task 0 given to worker 1'),
    (24, 1700000017000, 5, 'job.submitted', '1 tasks submitted'),
    (25, 1700000017000, 5, 'task.leased', 'task 0 given to worker 1'),
    (26, 1700000018000, 6, 'job.submitted', '1 tasks submitted'),
    (27, 1700000018000, 6, 'task.leased', 'task 0 given to worker 1'),
    (28, 1700000019000, 7, 'job.submitted', '2 tasks submitted'),
    (29, 1700000020000, 4, 'attempt.started', 'task 0 started'),
    (30, 1700000021000, 4, 'task.requeued', 'task 0 waits again: the worker could not build the environment: the disk is full'),
    (31, 1700000021000, 4, 'task.leased', 'task 0 given to worker 1'),
    (32, 1700000022000, 5, 'attempt.started', 'task 0 started');
COMMIT;
