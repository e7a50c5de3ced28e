-- What a manager of version 3 left behind, made by that version: two people, a login, an API token, a token to
-- join by, a laptop with a certificate, and jobs of each kind: ended, failed, cancelled when some of it had run,
-- waiting, half run with a task that came back, and being cancelled. The tables are those of
-- migrations/0001_grid.sql to 0003_identities.sql.

BEGIN;
INSERT INTO user (id, name, email, role, password_hash, registered_at) VALUES
    (1, 'ada', 'ada@campus.example', 'operator', 'x', 1700000001000),
    (2, 'bob', 'bob@campus.example', 'member', 'x', 1700000002000);

INSERT INTO login (id, token_hash, user, opened_at, until, used_at, came_from) VALUES
    (1, X'0101010101010101010101010101010101010101010101010101010101010101', 1, 1700000003000, 1700086400000, 1700000003000, 'Firefox at 10.0.0.1');

INSERT INTO api_token (id, token_hash, user, name, may_read, may_submit, may_own, may_operate, made_at, until, used_at) VALUES
    (1, X'0303030303030303030303030303030303030303030303030303030303030303', 2, 'script', 1, 1, 0, 0, 1700000004000, 1800000000000, NULL);

INSERT INTO voucher (id, purpose, user, secret_hash, uses_left, made_at, until) VALUES
    (1, 'join', 2, X'0404040404040404040404040404040404040404040404040404040404040404', 3, 1700000005000, 1700003600000);

INSERT INTO account (id, balance, earned, spent) VALUES
    (1, -2000000000, 0, 0),
    (2, 165085938, 0, 0),
    (1001, 769864058, 0, 65050004),
    (1002, 1065050004, 65050004, 0);

INSERT INTO transfer (id, key, debit, credit, amount, at, job, hash) VALUES
    (1, 'grant:1', 1, 1001, 1000000000, 1700000001000, NULL, X'e8b255ac87980da264dd9ec148512f825fb91021765749d441179236cb6bd4fc'),
    (2, 'grant:2', 1, 1002, 1000000000, 1700000002000, NULL, X'02d2a43673f011713848a8e6b6468320c05428ca1d892d8af617489538da1235'),
    (3, 'hold:1', 1001, 2, 8500000, 1700000009000, 1, X'add27353eb27a1965a9a186961911970bed3a2e82b81441a85b15ce343eed3a5'),
    (4, 'pay:1.0:1', 2, 1002, 7508334, 1700000012000, 1, X'd8143151fcaa0791412ae8b24ab1f2431eef945cc6823207ff8d9875b3cfdb5b'),
    (5, 'refund:1.0', 2, 1001, 991666, 1700000012000, 1, X'44fe1a8d6a6b19cd96dae7cc06801f27046d10de1378b2db1853ea416f02ddeb'),
    (6, 'hold:2', 1001, 2, 8500000, 1700000013000, 2, X'70ae287b52deec64443599299080bb8aef3638b77661e5a94cf1d7b7bad5103b'),
    (7, 'pay:2.0:1', 2, 1002, 7508334, 1700000015000, 2, X'1d3434ab216472e1125bd29059d6dbe2a2342d9a045423c83c2f79d2b8d57a56'),
    (8, 'refund:2.0', 2, 1001, 991666, 1700000015000, 2, X'ba05d8b65eb8868a1331255296a78a58ed91cf78d6c674137a84e21a3a4deeac'),
    (9, 'hold:3', 1001, 2, 68000000, 1700000016000, 3, X'c3067a82d701aaa365167e32f7da189da507a47de4ec6d7a296f6262c3dd72e0'),
    (10, 'pay:3.0:1', 2, 1002, 7508334, 1700000020000, 3, X'6c9770d8ba95b3a6e25cafce9ee7792fd127468076ceb8a3cc9d4ac8b0b9ab85'),
    (11, 'refund:3.0', 2, 1001, 991666, 1700000020000, 3, X'cd72169e8ce0c01b2c46c53f96c8eb00737804040e3c50bedbb2b969bd142c86'),
    (12, 'pay:3.1:1', 2, 1002, 7508334, 1700000021000, 3, X'20a116e1990fce6220483bb1afb03dacf3ad5c31913ec67dbd4ef7b02a3a558c'),
    (13, 'refund:3.1', 2, 1001, 991666, 1700000021000, 3, X'78342bdf558721ab80ee5d6c427179103f3e395da0dc236bf80af344bbcec804'),
    (14, 'refund:3.6-8', 2, 1001, 17000000, 1700000023000, 3, X'72875257431e81057c7130fc57e661613ac4e4790d9fe75082a988812f95611c'),
    (15, 'hold:4', 1001, 2, 18500000, 1700000024000, 4, X'09510a8f0803ab209b34615e66923c733d9bbd504ed284234e4a2dcb70709647'),
    (16, 'refund:3.3', 2, 1001, 8500000, 1700000025000, 3, X'c50f1d97e8f1a3cebdb530fa08e0d6808d38f72236404ac81e1d618d6918ba9a'),
    (17, 'refund:3.4', 2, 1001, 8500000, 1700000026000, 3, X'c6e7d14787d0c59e3af805585594c4f5ea763f44bb9f42ed181bc5e88622b2df'),
    (18, 'refund:3.5', 2, 1001, 8500000, 1700000027000, 3, X'feaee53d569bd2186a279410e35c7f332993bec61d95978ab39e83591862c5bd'),
    (19, 'hold:5', 1001, 2, 166500000, 1700000028000, 5, X'42f8d298982e523ab923b1b53d035e3c20372c7918dfc801ef13a4b38eed2610'),
    (20, 'hold:6', 1001, 2, 34343752, 1700000029000, 6, X'a23b6fcae23d37f440f60e49d18f66cfd65098799ac21f6db5706fcfc9e46cc4'),
    (21, 'pay:5.0:1', 2, 1002, 17508334, 1700000030000, 5, X'e70c57dca0db5543ea5665431497ab7842325f9229ed05ffb68d6d2612cb8d55'),
    (22, 'refund:5.0', 2, 1001, 991666, 1700000030000, 5, X'dd8b414f2e275854cc2e2c35af6e1732a99b7d8d77d5d072e17575c3e73d088a'),
    (23, 'pay:5.1:1', 2, 1002, 17508334, 1700000031000, 5, X'b68d6b47057c081a5c5bfe2444acfc308bcc7b35a83d979ca2311b0413404fe2'),
    (24, 'refund:5.1', 2, 1001, 991666, 1700000031000, 5, X'2f80f979ad5deed19091a394710df52bea2ffe6b1b3663f09b8ff88f25c78bba'),
    (25, 'refund:6.1-4', 2, 1001, 25757814, 1700000034000, 6, X'223cb2683214ff6555efa92ee0a10cd082eabd634cfda129cc6a5d85c0f76969');

INSERT INTO job (id, owner, name, spec, tasks, quote, submitted_at, untouched_from, succeeded, failed, cancelled, charged, ended_at, lock, cancelling) VALUES
    (1, 1, 'ended python', '{"work":{"python":{"source":"print(''hé'')\n","packages":{"names":{"requirements":["numpy"],"requires_python":null}}}},"needs":{"cpu_millis":1000,"ram_mib":512,"disk_mib":16,"gpus":0,"gpu_memory_mib":0},"time_limit_s":60,"isolation":"docker","labels":[],"image":null,"shared_tmp":false,"tasks":1}', 1, 8500000, 1700000009000, 1, 1, 0, 0, 7508334, 1700000012000, 'numpy==2.1 --hash=sha256:0000000000000000000000000000000000000000000000000000000000000000
', 0),
    (2, 1, 'failed c', '{"work":{"c":{"source":"int main(){return 3;}","flags":["-O3"]}},"needs":{"cpu_millis":1000,"ram_mib":512,"disk_mib":16,"gpus":0,"gpu_memory_mib":0},"time_limit_s":60,"isolation":"docker","labels":[],"image":null,"shared_tmp":false,"tasks":1}', 1, 8500000, 1700000013000, 1, 0, 1, 0, 7508334, 1700000015000, NULL, 0),
    (3, 1, 'open array', '{"work":{"shell":{"command":"echo \"hé\""}},"needs":{"cpu_millis":1000,"ram_mib":512,"disk_mib":16,"gpus":0,"gpu_memory_mib":0},"time_limit_s":60,"isolation":"docker","labels":[],"image":null,"shared_tmp":false,"tasks":8}', 8, 8500000, 1700000016000, 8, 1, 1, 5, 15016668, NULL, NULL, 0),
    (4, 1, 'waits', '{"work":{"shell":{"command":"echo \"hé\""}},"needs":{"cpu_millis":6000,"ram_mib":512,"disk_mib":16,"gpus":0,"gpu_memory_mib":0},"time_limit_s":60,"isolation":"docker","labels":[],"image":null,"shared_tmp":false,"tasks":1}', 1, 18500000, 1700000024000, 0, 0, 0, 0, 0, NULL, NULL, 0),
    (5, 1, 'half run', '{"work":{"shell":{"command":"echo \"hé\""}},"needs":{"cpu_millis":1000,"ram_mib":512,"disk_mib":16,"gpus":1,"gpu_memory_mib":0},"time_limit_s":60,"isolation":"docker","labels":[],"image":null,"shared_tmp":false,"tasks":9}', 9, 18500000, 1700000028000, 4, 1, 1, 0, 35016668, NULL, NULL, 0),
    (6, 1, 'to be cancelled', '{"work":{"shell":{"command":"echo \"hé\""}},"needs":{"cpu_millis":1000,"ram_mib":600,"disk_mib":16,"gpus":0,"gpu_memory_mib":0},"time_limit_s":60,"isolation":"docker","labels":[],"image":null,"shared_tmp":false,"tasks":4}', 4, 8585938, 1700000029000, 4, 0, 0, 3, 0, NULL, NULL, 0);

INSERT INTO task (job, idx, attempts, tries_left, state, reason, left_behind, charged, ended_at, losses) VALUES
    (1, 0, 1, 3, 'succeeded', '', '', 7508334, 1700000012000, ''),
    (2, 0, 1, 3, 'failed', 'ended with exit code 3', '', 7508334, 1700000015000, ''),
    (3, 0, 1, 3, 'succeeded', '', '', 7508334, 1700000020000, ''),
    (3, 1, 1, 3, 'failed', 'was ended by signal 11: it used memory that is not its own', '', 7508334, 1700000021000, ''),
    (3, 2, 2, 2, 'leased', '', '', 0, NULL, '1#1'),
    (3, 3, 1, 3, 'cancelled', '', '', 0, 1700000025000, ''),
    (3, 4, 1, 3, 'cancelled', '', '', 0, 1700000026000, ''),
    (3, 5, 1, 3, 'cancelled', '', '', 0, 1700000027000, ''),
    (5, 0, 1, 3, 'succeeded', '', '', 17508334, 1700000030000, ''),
    (5, 1, 1, 3, 'failed', 'ran longer than its limit of 60 s; ask for more time', '', 17508334, 1700000031000, ''),
    (5, 2, 2, 2, 'leased', '', '', 0, NULL, '1#1'),
    (5, 3, 1, 3, 'leased', '', '', 0, NULL, ''),
    (6, 0, 1, 3, 'leased', '', '', 0, NULL, '');

INSERT INTO attempt (job, idx, number, worker, leased_at, started_at, cancelling, ended_at, outcome, run_ms, cpu_ms, ram_peak_mib, charged, gpus) VALUES
    (1, 0, 1, 1, 1700000009000, 1700000010000, 0, 1700000012000, 'succeeded', 500, 400, 5, 7508334, ''),
    (2, 0, 1, 1, 1700000013000, 1700000014000, 0, 1700000015000, 'ended with exit code 3', 500, 400, 5, 7508334, ''),
    (3, 0, 1, 1, 1700000016000, 1700000017000, 0, 1700000020000, 'succeeded', 500, 400, 5, 7508334, ''),
    (3, 1, 1, 1, 1700000016000, 1700000018000, 0, 1700000021000, 'was ended by signal 11: it used memory that is not its own', 500, 400, 5, 7508334, ''),
    (3, 2, 1, 1, 1700000016000, 1700000019000, 0, 1700000022000, 'the worker was restarted', 0, 0, 0, 0, ''),
    (3, 2, 2, 1, 1700000022000, NULL, 1, NULL, NULL, 0, 0, 0, 0, ''),
    (3, 3, 1, 1, 1700000016000, NULL, 1, 1700000025000, 'cancelled', 500, 400, 5, 0, ''),
    (3, 4, 1, 1, 1700000020000, NULL, 1, 1700000026000, 'cancelled', 500, 400, 5, 0, ''),
    (3, 5, 1, 1, 1700000021000, NULL, 1, 1700000027000, 'cancelled', 500, 400, 5, 0, ''),
    (5, 0, 1, 1, 1700000028000, NULL, 0, 1700000030000, 'succeeded', 500, 400, 5, 17508334, '0'),
    (5, 1, 1, 1, 1700000028000, NULL, 0, 1700000031000, 'ran longer than its limit of 60 s; ask for more time', 500, 400, 5, 17508334, '1'),
    (5, 2, 1, 1, 1700000030000, 1700000032000, 0, 1700000033000, 'the worker was restarted', 0, 0, 0, 0, '0'),
    (5, 2, 2, 1, 1700000033000, NULL, 0, NULL, NULL, 0, 0, 0, 0, '0'),
    (5, 3, 1, 1, 1700000031000, NULL, 0, NULL, NULL, 0, 0, 0, 0, '1'),
    (6, 0, 1, 1, 1700000029000, NULL, 1, NULL, NULL, 0, 0, 0, 0, '');

INSERT INTO log (job, idx, stream, content, hash, size, cut_bytes) VALUES
    (1, 0, 'stderr', NULL, X'0808080808080808080808080808080808080808080808080808080808080808', 300000, 17),
    (1, 0, 'stdout', X'68656c6c6f0a', NULL, 6, 0),
    (2, 0, 'stderr', X'', NULL, 0, 0),
    (2, 0, 'stdout', X'', NULL, 0, 0),
    (3, 0, 'stderr', X'', NULL, 0, 0),
    (3, 0, 'stdout', X'', NULL, 0, 0),
    (3, 1, 'stderr', X'', NULL, 0, 0),
    (3, 1, 'stdout', X'', NULL, 0, 0),
    (3, 3, 'stderr', X'', NULL, 0, 0),
    (3, 3, 'stdout', X'', NULL, 0, 0),
    (3, 4, 'stderr', X'', NULL, 0, 0),
    (3, 4, 'stdout', X'', NULL, 0, 0),
    (3, 5, 'stderr', X'', NULL, 0, 0),
    (3, 5, 'stdout', X'', NULL, 0, 0),
    (5, 0, 'stderr', X'', NULL, 0, 0),
    (5, 0, 'stdout', X'', NULL, 0, 0),
    (5, 1, 'stderr', X'', NULL, 0, 0),
    (5, 1, 'stdout', X'', NULL, 0, 0);

INSERT INTO output (job, idx, path, hash, size) VALUES
    (1, 0, 'out.txt', X'0909090909090909090909090909090909090909090909090909090909090909', 10);

INSERT INTO worker (id, key_hash, name, owner, approved_at, removed_at, set_aside) VALUES
    (1, X'0707070707070707070707070707070707070707070707070707070707070707', 'laptop', 2, 1700000007000, NULL, NULL);

INSERT INTO submit_key (owner, key, job, held, until, body) VALUES
    (1, 'key of ended python', 1, 8500000, 1700003609000, X'2e74472910dffc5adee99eb0f288f99584ed93da952f6f6aabfe698c7190df0d'),
    (1, 'key of failed c', 2, 8500000, 1700003613000, X'40a61a32a1fa07349265fae5cc113302b40169cebeac754abdab0f472218b602'),
    (1, 'key of half run', 5, 166500000, 1700003628000, X'86a3a262ebac934a4ea4d5f24fb53b65087881dcbeb8e09a06e0baf322f78445'),
    (1, 'key of open array', 3, 68000000, 1700003616000, X'179b59bf06a48aaac180d79f9feb3d9ce8a3dfcf419865a8b7cc2542207e340b'),
    (1, 'key of to be cancelled', 6, 34343752, 1700003629000, X'365e39ff811d8bd9b6f1ff8e6b17ce69229d4584396fe2194430088d2ece27e3'),
    (1, 'key of waits', 4, 18500000, 1700003624000, X'1168bbc645889b929b0737e8626f3dbeb34ce1689af654767579a95a7cd88c64');

INSERT INTO event (id, at, job, kind, message) VALUES
    (1, 1700000001000, NULL, 'user.registered', 'ada registered'),
    (2, 1700000002000, NULL, 'user.registered', 'bob registered'),
    (3, 1700000005000, NULL, 'voucher.made', 'token 1 lets 3 machines join as user 2''s'),
    (4, 1700000007000, NULL, 'worker.approved', 'worker laptop joined as user 2''s'),
    (5, 1700000009000, 1, 'job.submitted', '1 tasks submitted'),
    (6, 1700000009000, 1, 'task.leased', 'task 0 given to worker 1'),
    (7, 1700000010000, 1, 'attempt.started', 'task 0 started'),
    (8, 1700000011000, 1, 'job.locked', 'its packages came to 1 in all'),
    (9, 1700000012000, 1, 'task.ended', 'task 0: succeeded'),
    (10, 1700000012000, 1, 'job.ended', 'all tasks have ended'),
    (11, 1700000013000, 2, 'job.submitted', '1 tasks submitted'),
    (12, 1700000013000, 2, 'task.leased', 'task 0 given to worker 1'),
    (13, 1700000014000, 2, 'attempt.started', 'task 0 started'),
    (14, 1700000015000, 2, 'task.ended', 'task 0: ended with exit code 3'),
    (15, 1700000015000, 2, 'job.ended', 'all tasks have ended'),
    (16, 1700000016000, 3, 'job.submitted', '8 tasks submitted'),
    (17, 1700000016000, 3, 'task.leased', 'task 0 given to worker 1'),
    (18, 1700000016000, 3, 'task.leased', 'task 1 given to worker 1'),
    (19, 1700000016000, 3, 'task.leased', 'task 2 given to worker 1'),
    (20, 1700000016000, 3, 'task.leased', 'task 3 given to worker 1'),
    (21, 1700000017000, 3, 'attempt.started', 'task 0 started'),
    (22, 1700000018000, 3, 'attempt.started', 'task 1 started'),
    (23, 1700000019000, 3, 'attempt.started', 'task 2 started'),
    (24, 1700000020000, 3, 'task.ended', 'task 0: succeeded'),
    (25, 1700000020000, 3, 'task.leased', 'task 4 given to worker 1'),
    (26, 1700000021000, 3, 'task.ended', 'task 1: was ended by signal 11: it used memory that is not its own'),
    (27, 1700000021000, 3, 'task.leased', 'task 5 given to worker 1'),
    (28, 1700000022000, 3, 'task.requeued', 'task 2 waits again: the worker was restarted'),
    (29, 1700000022000, 3, 'task.leased', 'task 2 given to worker 1'),
    (30, 1700000023000, 3, 'tasks.cancelled', '2 waiting tasks cancelled'),
    (31, 1700000024000, 4, 'job.submitted', '1 tasks submitted'),
    (32, 1700000025000, 3, 'task.ended', 'task 3: cancelled'),
    (33, 1700000026000, 3, 'task.ended', 'task 4: cancelled'),
    (34, 1700000027000, 3, 'task.ended', 'task 5: cancelled'),
    (35, 1700000028000, 5, 'job.submitted', '9 tasks submitted'),
    (36, 1700000028000, 5, 'task.leased', 'task 0 given to worker 1'),
    (37, 1700000028000, 5, 'task.leased', 'task 1 given to worker 1'),
    (38, 1700000029000, 6, 'job.submitted', '4 tasks submitted'),
    (39, 1700000029000, 6, 'task.leased', 'task 0 given to worker 1'),
    (40, 1700000030000, 5, 'task.ended', 'task 0: succeeded'),
    (41, 1700000030000, 5, 'task.leased', 'task 2 given to worker 1'),
    (42, 1700000031000, 5, 'task.ended', 'task 1: ran longer than its limit of 60 s; ask for more time'),
    (43, 1700000031000, 5, 'task.leased', 'task 3 given to worker 1'),
    (44, 1700000032000, 5, 'attempt.started', 'task 2 started'),
    (45, 1700000033000, 5, 'task.requeued', 'task 2 waits again: the worker was restarted'),
    (46, 1700000033000, 5, 'task.leased', 'task 2 given to worker 1'),
    (47, 1700000034000, 6, 'tasks.cancelled', '3 waiting tasks cancelled');

UPDATE total SET tasks_ended = 14, jobs_from = 0;
COMMIT;
