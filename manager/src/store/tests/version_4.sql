-- What a manager of version 4 left behind, made by that version with a worker of its own: two people, a laptop,
-- a draft, and jobs of each kind: ended with files and outputs, failed, failed twice with a long log, its owner's
-- own, an array half run with a machine that was lost and a task that was cancelled, cancelled because of another,
-- cancelled, half cancelled, pausing, and on hold. The tables are those of migrations/0001_grid.sql to 0004_jobs.sql.

BEGIN;
INSERT INTO user (id, name, email, role, password_hash, registered_at, webhook_secret) VALUES
    (1, 'ada', 'ada@campus.example', 'operator', 'x', 1795378306763, 'whsec_1'),
    (2, 'bob', 'bob@campus.example', 'member', 'x', 1795378306798, NULL);

INSERT INTO login (id, token_hash, user, opened_at, until, used_at, came_from) VALUES
    (1, X'afa56d9400ecdc04404921ea4f90b6f54ea4dbd26f31b55e3c382833dc43294a', 1, 1795378306764, 1797970306764, 1795378306764, '127.0.0.1, campusgrid'),
    (2, X'a0a5e31de1bea4323499789400ac908ed61f69eaeebbbc5da3838e1966bf31a3', 2, 1795378306799, 1797970306799, 1795378306799, '127.0.0.1, campusgrid');

INSERT INTO worker (id, key_hash, name, owner, approved_at, removed_at, set_aside) VALUES
    (1, X'ea93ce6b2e0a58f22f2e08a932d73e464ccf6dd22f5caba42e70626c01956b6a', 'lab-7', 2, 1795378306885, NULL, NULL);

INSERT INTO account (id, balance, earned, spent) VALUES
    (1, -20000000000, 0, 0),
    (2, 398500000, 0, 0),
    (1001, 9548564880, 0, 52935120),
    (1002, 10052935120, 52935120, 0);

INSERT INTO transfer (id, key, debit, credit, amount, at, job, hash) VALUES
    (1, 'grant:1', 1, 1001, 10000000000, 1795378306763, NULL, X'9e84c9b9d8aba46be2424a8c420d235c24d180a2092d6a3ef2df09443b39bb3b'),
    (2, 'grant:2', 1, 1002, 10000000000, 1795378306798, NULL, X'ccc9d3db1a5863bfcf150db3e3d88ef30e4b1795f2f0a80cdf8b027984694f99'),
    (3, 'hold:1', 1001, 2, 17500000, 1795378314854, 1, X'f41e9ecb283fe6c0e06ccee9a64dda1668b29f89bdfe0dafa29a3294de0c05de'),
    (4, 'pay:1.0:1', 2, 1002, 7500450, 1795378314935, 1, X'49a3f0a603e073bf95e7a9b1542546daec9f582e9439dbde166b02d522481e89'),
    (5, 'refund:1.0', 2, 1001, 9999550, 1795378314935, 1, X'97901b343d37708b10ecc59b1f1899c91c772a17e3927aa3c8b7d0945d376848'),
    (6, 'hold:2', 1001, 2, 17500000, 1795378314949, 2, X'9fb342e59eb91928954c2a375e59916509ae9851e3944aab804d15c198526291'),
    (7, 'pay:2.0:1', 2, 1002, 7500634, 1795378314996, 2, X'c1e3a530949683d1a6676deb4d698ff610a7015dd7039f704c1493a1f25f40c3'),
    (8, 'refund:2.0', 2, 1001, 9999366, 1795378314996, 2, X'4789a745d8ac914ce1dc580fe95b4bbf49a80673e4ba06157395f7c6358b0fcf'),
    (9, 'hold:3', 1001, 2, 35000000, 1795378315010, 3, X'850c52a5401614aed98dabdf82f72ac1106bbba2817a5a098b3c6edd87826561'),
    (10, 'pay:3.0:1', 2, 1002, 7500117, 1795378315075, 3, X'3f299238a7828f8a28bf47ba99884d434d98d4097b5cd86598a36d261fba319e'),
    (11, 'refund:3.0:1', 2, 1001, 9999883, 1795378315075, 3, X'1aa92ffe4d0fbaf684a30e94c10db5135d056e89bd666da2dc3217150a4d60ed'),
    (12, 'pay:3.0:2', 2, 1002, 7500134, 1795378316138, 3, X'c876d64ed9307f48adc88f9988c2b89453964d88c7337e774c9c78d3af094971'),
    (13, 'refund:3.0', 2, 1001, 9999866, 1795378316138, 3, X'1252b507f430216031d95a15512e36c95f644aab7b1af7b299039a7a5ac2b135'),
    (14, 'hold:4', 1002, 2, 17500000, 1795378316151, 4, X'5f9024ddf4dda178b22b9bc04bafd0005a5f2b3c0a13b5051c6f33c1b25584f6'),
    (15, 'refund:4.0', 2, 1002, 17500000, 1795378316165, 4, X'8766a34d6197a0028b47cf0835b9ce7198b2662a2ef18383225023e8688a9629'),
    (16, 'hold:5', 1001, 2, 637500000, 1795378316175, 5, X'1382618c0ac8bdf3ba18810b3d654e5c8833f336c6a7da0e6a0171316e0203fa'),
    (17, 'pay:5.0:1', 2, 1002, 7500067, 1795378316190, 5, X'02b8959555b1cedfa9f52f96e51618d3a6d1ddf78d3d395b5aa9eb7ae432dcd1'),
    (18, 'refund:5.0', 2, 1001, 119999933, 1795378316190, 5, X'95c37bfe0343539a517de99afeb413f93a0fab6839b6b6b988d8e633d033b1ed'),
    (19, 'hold:6', 1001, 2, 17500000, 1795378319199, 6, X'c860bb71ee9f3e9f5347d3e8e41add40cd0fd6c572ab31432bc28dba896248b7'),
    (20, 'hold:8', 1002, 2, 78000000, 1795378319230, 8, X'fdfe2271ea05e57d290733edc0525cf77c9a1dbfbe722c08224f19b4b6ef9ce3'),
    (21, 'hold:9', 1001, 2, 42000000, 1795378319246, 9, X'1c76e73c0d763ce11352b3adc6e933f0732661c626c755b8cc05d7ed21070ddd'),
    (22, 'refund:5.3-3', 2, 1001, 127500000, 1795378319261, 5, X'859ec73a0787d094b69fa70652ea8fbbedcee0258c69673f9547a9a3a0f4f21b'),
    (23, 'refund:6.0-0', 2, 1001, 17500000, 1795378319261, 6, X'4defb044bab085741602bf6d88ab85526c70d2ada33528ba7e7d842ba7ddcbff'),
    (24, 'hold:10', 1001, 2, 70000000, 1795378319270, 10, X'0a505ff98af5f2bb9a9f88a1e4b78356301665e79b742dec0fcfb61ab5735c50'),
    (25, 'refund:8.0-3', 2, 1002, 78000000, 1795378342185, 8, X'0b764d62c41c6e27881a75bdc07d216a85028d66a34c44298761b83fe9119939'),
    (26, 'refund:9.1-2', 2, 1001, 21000000, 1795378342194, 9, X'c4145d8be33c13e11e7e4753b91dc9f84b64cb92ea136d45da65ddf04b3f1573'),
    (27, 'hold:11', 1001, 2, 70000000, 1795378342202, 11, X'adeffde238dc5f274641cf213c59f970f74d6cf1d1e9a58d630f681db96c7d49'),
    (28, 'pay:5.2:1', 2, 1002, 7933684, 1795378342218, 5, X'b7122c2c3c9fbb827d2ab391a7daa357257da03a701988f5b84539a1844f2c8b'),
    (29, 'refund:5.2', 2, 1001, 119566316, 1795378342218, 5, X'9d75cd20ba9cd9728275affdad8295995a2b8bfe87f085c5aa19d2ebbc516517'),
    (30, 'pay:10.0:1', 2, 1002, 7500034, 1795378342227, 10, X'8f98f5b126def2f53a85437222dc69572bc22b679b1030728b02ae2da447b11e'),
    (31, 'refund:10.0:1', 2, 1001, 9999966, 1795378342227, 10, X'103e5f944eefe6d4a074c4790783af8a9c7f52114f3ce75c444e8bfdf2ca2418');

INSERT INTO job (id, owner, name, kind, state, tasks, runs, quote, submitted_at, priority, on_hold, cancelling, leased, succeeded, failed, cancelled, open_runs, charged, ended_at, emptied_at, stored_bytes, note, manifest, manifest_size) VALUES
    (1, 1, 'ended python', 'python', 'succeeded', 1, 1, 17500000, 1795378314854, 0, 0, 0, 0, 1, 0, 0, 0, 7500450, 1795378314935, NULL, 1069, '', X'8b0904ad8082e59464ea1f5136dab00d460e90a91c01f1a66201a96ceee8f063', 84),
    (2, 1, 'failed c', 'c', 'failed', 1, 1, 17500000, 1795378314949, 0, 0, 0, 0, 0, 1, 0, 0, 7500634, 1795378314996, NULL, 0, '', NULL, NULL),
    (3, 1, 'flooded', 'shell', 'failed', 1, 2, 17500000, 1795378315010, 0, 0, 0, 0, 0, 1, 0, 0, 15000251, 1795378316138, NULL, 937788, '', NULL, NULL),
    (4, 2, 'own machine', 'shell', 'succeeded', 1, 1, 17500000, 1795378316151, 0, 0, 0, 0, 1, 0, 0, 0, 0, 1795378316165, NULL, 0, '', NULL, NULL),
    (5, 1, 'odd array', 'shell', 'running', 5, 1, 127500000, 1795378316175, 0, 0, 0, 2, 1, 0, 2, 2, 15433751, NULL, NULL, 0, '', NULL, NULL),
    (6, 1, 'waits', 'shell', 'cancelled', 1, 1, 17500000, 1795378319199, 0, 0, 0, 0, 0, 0, 1, 0, 0, 1795378319261, NULL, 0, 'job 5, which it was to follow, has not succeeded, so it can never start', NULL, NULL),
    (7, 1, 'a draft', 'python', 'draft', 0, 1, 0, 1795378319217, 0, 0, 0, 0, 0, 0, 0, 0, 0, NULL, NULL, 66, '', NULL, NULL),
    (8, 2, 'cancelled', 'shell', 'cancelled', 4, 1, 19500000, 1795378319230, 0, 0, 0, 0, 0, 0, 4, 0, 0, 1795378342185, NULL, 0, '', NULL, NULL),
    (9, 1, 'half cancelled', 'shell', 'queued', 4, 1, 10500000, 1795378319246, 0, 0, 0, 0, 0, 0, 2, 2, 0, NULL, NULL, 0, '', NULL, NULL),
    (10, 1, 'pauses', 'shell', 'running', 1, 4, 17500000, 1795378319270, 7, 0, 0, 0, 0, 0, 0, 3, 7500034, NULL, NULL, 0, '', NULL, NULL),
    (11, 1, 'on hold', 'shell', 'queued', 4, 1, 17500000, 1795378342202, 0, 1, 0, 0, 0, 0, 0, 4, 0, NULL, NULL, 0, '', NULL, NULL);

INSERT INTO job_spec (job, spec, terms, lock) VALUES
    (1, '{"work":{"python":{"program":{"entry":"main.py"},"packages":"none"}},"needs":{"cpu_millis":1000,"ram_mib":512,"disk_mib":256,"gpus":0,"gpu_memory_mib":0},"time_limit_s":600,"isolation":"restricted","labels":["campusgrid-4"],"image":null,"shared_tmp":false,"tasks":1,"arguments":[],"inputs":{"hash":[139,9,4,173,128,130,229,148,100,234,31,81,54,218,176,13,70,14,144,169,28,1,241,166,98,1,169,108,238,232,240,99],"size_bytes":84},"lines":null,"outputs":["out.txt"],"warn_s":0}', '{"indices":"0","at_once":null,"retries":0,"backoff_s":0,"deadline_at_ms":null,"notify":{"start":false,"end":false,"failure":false,"mail":false}}', NULL),
    (2, '{"work":{"c":{"program":{"source":"int main(){return 3;}\n"},"flags":["-O3"]}},"needs":{"cpu_millis":1000,"ram_mib":512,"disk_mib":256,"gpus":0,"gpu_memory_mib":0},"time_limit_s":600,"isolation":"restricted","labels":[],"image":null,"shared_tmp":false,"tasks":1,"arguments":[],"inputs":null,"lines":null,"outputs":[],"warn_s":0}', '{"indices":"0","at_once":null,"retries":0,"backoff_s":0,"deadline_at_ms":null,"notify":{"start":false,"end":false,"failure":false,"mail":false}}', NULL),
    (3, '{"work":{"shell":{"program":{"source":"seq 1 80000; echo no >&2; exit 1"}}},"needs":{"cpu_millis":1000,"ram_mib":512,"disk_mib":256,"gpus":0,"gpu_memory_mib":0},"time_limit_s":600,"isolation":"restricted","labels":[],"image":null,"shared_tmp":false,"tasks":1,"arguments":[],"inputs":null,"lines":null,"outputs":[],"warn_s":0}', '{"indices":"0","at_once":null,"retries":1,"backoff_s":1,"deadline_at_ms":null,"notify":{"start":false,"end":false,"failure":false,"mail":false}}', NULL),
    (4, '{"work":{"shell":{"program":{"source":"true"}}},"needs":{"cpu_millis":1000,"ram_mib":512,"disk_mib":256,"gpus":0,"gpu_memory_mib":0},"time_limit_s":600,"isolation":"restricted","labels":[],"image":null,"shared_tmp":false,"tasks":1,"arguments":[],"inputs":null,"lines":null,"outputs":[],"warn_s":0}', '{"indices":"0","at_once":null,"retries":0,"backoff_s":0,"deadline_at_ms":null,"notify":{"start":false,"end":false,"failure":false,"mail":false}}', NULL),
    (5, '{"work":{"shell":{"program":{"source":"test $CAMPUSGRID_TASK_INDEX -lt 3 && exit 0; sleep 3000"}}},"needs":{"cpu_millis":1000,"ram_mib":512,"disk_mib":256,"gpus":0,"gpu_memory_mib":0},"time_limit_s":7200,"isolation":"restricted","labels":["campusgrid-4"],"image":null,"shared_tmp":false,"tasks":5,"arguments":[],"inputs":null,"lines":null,"outputs":[],"warn_s":0}', '{"indices":"1-9:2","at_once":null,"retries":0,"backoff_s":0,"deadline_at_ms":null,"notify":{"start":false,"end":false,"failure":false,"mail":false}}', NULL),
    (6, '{"work":{"shell":{"program":{"source":"true"}}},"needs":{"cpu_millis":1000,"ram_mib":512,"disk_mib":256,"gpus":0,"gpu_memory_mib":0},"time_limit_s":600,"isolation":"restricted","labels":[],"image":null,"shared_tmp":false,"tasks":1,"arguments":[],"inputs":null,"lines":null,"outputs":[],"warn_s":0}', '{"indices":"0","at_once":null,"retries":0,"backoff_s":0,"deadline_at_ms":null,"notify":{"start":false,"end":false,"failure":false,"mail":false}}', NULL),
    (8, '{"work":{"shell":{"program":{"source":"true"}}},"needs":{"cpu_millis":2000,"ram_mib":512,"disk_mib":256,"gpus":0,"gpu_memory_mib":0},"time_limit_s":600,"isolation":"docker","labels":[],"image":null,"shared_tmp":false,"tasks":4,"arguments":[],"inputs":null,"lines":null,"outputs":[],"warn_s":0}', '{"indices":"0-3","at_once":null,"retries":0,"backoff_s":0,"deadline_at_ms":null,"notify":{"start":false,"end":false,"failure":false,"mail":false}}', NULL),
    (9, '{"work":{"shell":{"program":{"source":"true"}}},"needs":{"cpu_millis":2000,"ram_mib":512,"disk_mib":256,"gpus":0,"gpu_memory_mib":0},"time_limit_s":60,"isolation":"docker","labels":[],"image":null,"shared_tmp":false,"tasks":4,"arguments":[],"inputs":null,"lines":null,"outputs":[],"warn_s":0}', '{"indices":"0-3","at_once":null,"retries":0,"backoff_s":0,"deadline_at_ms":null,"notify":{"start":false,"end":false,"failure":false,"mail":false}}', NULL),
    (10, '{"work":{"shell":{"program":{"source":"exit 4"}}},"needs":{"cpu_millis":1000,"ram_mib":512,"disk_mib":256,"gpus":0,"gpu_memory_mib":0},"time_limit_s":600,"isolation":"restricted","labels":[],"image":null,"shared_tmp":false,"tasks":1,"arguments":[],"inputs":null,"lines":null,"outputs":[],"warn_s":0}', '{"indices":"0","at_once":null,"retries":3,"backoff_s":7200,"deadline_at_ms":null,"notify":{"start":false,"end":false,"failure":false,"mail":false}}', NULL),
    (11, '{"work":{"shell":{"program":{"source":"true"}}},"needs":{"cpu_millis":1000,"ram_mib":512,"disk_mib":256,"gpus":0,"gpu_memory_mib":0},"time_limit_s":600,"isolation":"restricted","labels":[],"image":null,"shared_tmp":false,"tasks":4,"arguments":[],"inputs":null,"lines":null,"outputs":[],"warn_s":0}', '{"indices":"0-3","at_once":2,"retries":0,"backoff_s":0,"deadline_at_ms":1798978342199,"notify":{"start":false,"end":false,"failure":false,"mail":false}}', NULL);

INSERT INTO progress (job, chunk, states) VALUES
    (1, 0, 's'),
    (2, 0, 'f'),
    (3, 0, 'f'),
    (4, 0, 's'),
    (5, 0, 'sbccb'),
    (6, 0, 'c'),
    (8, 0, 'cccc'),
    (9, 0, 'uccu'),
    (10, 0, 'b');

INSERT INTO task (job, idx, attempts, tries_left, runs_left, state, paused_until, reason, left_behind, charged, ended_at, losses) VALUES
    (1, 0, 1, 3, 1, 'succeeded', NULL, '', '', 7500450, 1795378314935, ''),
    (2, 0, 1, 3, 1, 'failed', NULL, 'ended with exit code 3', '', 7500634, 1795378314996, ''),
    (3, 0, 2, 3, 1, 'failed', NULL, 'ended with exit code 1', '', 15000251, 1795378316138, ''),
    (4, 0, 1, 3, 1, 'succeeded', NULL, '', '', 0, 1795378316165, ''),
    (5, 0, 1, 3, 1, 'succeeded', NULL, '', '', 7500067, 1795378316190, ''),
    (5, 1, 2, 2, 1, 'leased', NULL, '', '', 0, NULL, '1#1'),
    (5, 2, 1, 3, 1, 'cancelled', NULL, '', '', 7933684, 1795378342218, ''),
    (5, 4, 2, 2, 1, 'leased', NULL, '', '', 0, NULL, '1#1'),
    (10, 0, 1, 3, 3, 'pausing', 1795385542227, 'ended with exit code 4', '', 7500034, NULL, '');

INSERT INTO attempt (job, idx, number, worker, leased_at, started_at, cancelling, ended_at, outcome, run_ms, cpu_ms, ram_peak_mib, charged, gpus, ending, exit_code) VALUES
    (1, 0, 1, 1, 1795378314854, 1795378314898, 0, 1795378314935, 'succeeded', 27, 15, 10, 7500450, '', 'succeeded', 0),
    (2, 0, 1, 1, 1795378314949, 1795378314957, 0, 1795378314996, 'ended with exit code 3', 38, 37, 7, 7500634, '', 'failed', 3),
    (3, 0, 1, 1, 1795378315010, 1795378315017, 0, 1795378315075, 'ended with exit code 1', 7, 5, 2, 7500117, '', 'failed', 1),
    (3, 0, 2, 1, 1795378316076, 1795378316081, 0, 1795378316138, 'ended with exit code 1', 8, 6, 2, 7500134, '', 'failed', 1),
    (4, 0, 1, 1, 1795378316151, 1795378316157, 0, 1795378316165, 'succeeded', 3, 2, 1, 0, '', 'succeeded', 0),
    (5, 0, 1, 1, 1795378316175, 1795378316185, 0, 1795378316190, 'succeeded', 4, 2, 1, 7500067, '', 'succeeded', 0),
    (5, 1, 1, 1, 1795378316175, 1795378316185, 0, 1795378346303, 'the worker was restarted', 0, 0, 0, 0, '', 'returned', NULL),
    (5, 1, 2, 1, 1795378346303, 1795378346313, 0, NULL, NULL, 0, 0, 0, 0, '', NULL, NULL),
    (5, 2, 1, 1, 1795378316190, 1795378316193, 1, 1795378342218, 'cancelled', 26021, 5, 2, 7933684, '', 'cancelled', NULL),
    (5, 4, 1, 1, 1795378342227, 1795378342232, 0, 1795378346303, 'the worker was restarted', 0, 0, 0, 0, '', 'returned', NULL),
    (5, 4, 2, 1, 1795378346303, 1795378346313, 0, NULL, NULL, 0, 0, 0, 0, '', NULL, NULL),
    (10, 0, 1, 1, 1795378342218, 1795378342221, 0, 1795378342227, 'ended with exit code 4', 2, 2, 1, 7500034, '', 'failed', 4);

INSERT INTO log (job, idx, attempt, stream, content, hash, size, cut_bytes) VALUES
    (1, 0, 1, 'stdout', X'68690a0a', NULL, 4, 0),
    (3, 0, 1, 'stderr', X'6e6f0a', NULL, 3, 0),
    (3, 0, 1, 'stdout', NULL, X'd4119ed0bbbbc4c3180de46bc8146fedcbe61a49e59277b3414da9753b0d0c61', 468894, 0),
    (3, 0, 2, 'stderr', X'6e6f0a', NULL, 3, 0),
    (3, 0, 2, 'stdout', NULL, X'd4119ed0bbbbc4c3180de46bc8146fedcbe61a49e59277b3414da9753b0d0c61', 468894, 0);

INSERT INTO output (job, idx, path, hash, size) VALUES
    (1, 0, 'out.txt', X'ff6f2cf7750b0d32858b758ef1cd7971064f53e81ec62ff560a953792599ca69', 1000);

INSERT INTO file (job, path, hash, size, executable) VALUES
    (1, 'in.txt', X'0b8b60248fad7ac6dfac221b7e01a8b91c772421a15b387dd1fb2d6a94aee438', 3, 0),
    (1, 'main.py', X'565d84ea10fd0e06035261b487761f638518627a802eddc467a0f01c0cd18783', 66, 0),
    (7, 'main.py', X'565d84ea10fd0e06035261b487761f638518627a802eddc467a0f01c0cd18783', 66, 0);

INSERT INTO draft (job, submit, revision, touched_at) VALUES
    (7, '{"kind":"python","name":"a draft","source":"","entry":"main.py","shared_tmp":false,"tasks":1,"retries":0,"backoff_s":0,"warn_s":0,"priority":0,"hold":false,"draft":true,"cores":1,"ram_mib":512,"disk_mib":256,"gpus":0,"gpu_memory_mib":0,"time_limit_s":600}', 1, 1795378319222);

INSERT INTO submit_key (owner, key, job, held, until, body) VALUES
    (1, '03b78b4565663c27c45ea8bf720cb3b8', 1, 17500000, 1795464714854, X'976c7ea05d35eeb265130d8870e7f6e82af25a3543513612e94b250708073424'),
    (1, '1006862e31d736ee7c85b2c0890f6608', 9, 42000000, 1795464719246, X'356fd5adab2c0b085aceed1248273da54d2a320e71d51bbdb7b4fb1363db110b'),
    (1, '3bf2d337ee29a6aea9565087d809e61b', 11, 70000000, 1795464742202, X'0e2bccf36d62dc235fb500ec7dbcf19e55e8cef345f00dc8844889c5c5492d1e'),
    (1, '67bee77953d8cc083b14c3734fb1a25a', 6, 17500000, 1795464719199, X'cd93b836c895ada47343ea9fa6fd7bea1c1021ab66fa462d5327a15c7edb384e'),
    (1, '689e62f4c4598866ce839aa1ff2a7c70', 10, 70000000, 1795464719270, X'b1a96144d173a311a7eef8bbebd12118833380b1860d210cdf92bb8ed23288f0'),
    (1, '857c6abfe17791f4a965ba39a0bc06a6', 5, 637500000, 1795464716175, X'0f7de9899167f77725b52a79f47f591a45d5617ed028cb956d21d121fe807315'),
    (1, 'b7e0d01fd4ec1e85778fd1cad616b369', 3, 35000000, 1795464715010, X'b1f8dcd062a37835411e3559611f55a8f6c0f02069550577d183da9dd617a6c0'),
    (1, 'ccaebb5c6f0c9b1bc65e71a65bd6e019', 1, 0, 1795464714840, X'c5b044c831a5f36d0bdf92f9b8c0af4efe5f5993569b4f78ad1877babfcc6c14'),
    (1, 'db7c2a6b78da5e0e2c6e260e1f6804a3', 7, 0, 1795464719217, X'29d316d7fd1a103eb8529d4ccde70541de0f5881531e9baff03a5fd3b0c10d0a'),
    (1, 'dff41d49ec0c9e7c7b465f1e73134be6', 2, 17500000, 1795464714949, X'd3fb70f20078343f7a6a5e58722c82f6145f1f5e9edabf0204e1860606e6cf0a'),
    (2, '3af576a7aa4a8884f26938f04675e8b4', 8, 78000000, 1795464719230, X'672d16057c44dc7acb9680277d6a455dbe35ac089a5e95a10750b15bfacc1546'),
    (2, 'a1393decb1a1c0ccbffb14ca3cd8e724', 4, 17500000, 1795464716151, X'09b5b4b0d6e085a298d947239c4459925e4438629ce12c272a6b9141853c1b5f');

INSERT INTO event (id, at, job, kind, message, newest_only) VALUES
    (1, 1795378306763, NULL, 'user.registered', 'ada registered', 0),
    (2, 1795378306798, NULL, 'user.registered', 'bob registered', 0),
    (3, 1795378306807, NULL, 'voucher.made', 'token 1 lets 1 machines join as user 2''s', 0),
    (4, 1795378306885, NULL, 'worker.approved', 'worker lab-7 joined as user 2''s', 0),
    (5, 1795378306885, NULL, 'voucher.over', 'token or invitation 1 is over', 0),
    (6, 1795378314831, NULL, 'user.webhook_secret', 'user 1 has a new webhook secret', 0),
    (7, 1795378314840, 1, 'job.drafted', 'a draft that waits for files', 0),
    (9, 1795378314849, 1, 'job.files', '1 files came, 0 went', 1),
    (10, 1795378314854, 1, 'job.submitted', '1 tasks submitted', 0),
    (11, 1795378314854, 1, 'task.leased', 'task 0 given to worker 1', 0),
    (12, 1795378314898, 1, 'attempt.started', 'task 0 started', 0),
    (13, 1795378314935, 1, 'task.ended', 'task 0: succeeded', 0),
    (14, 1795378314935, 1, 'job.ended', 'all tasks have ended', 0),
    (15, 1795378314949, 2, 'job.submitted', '1 tasks submitted', 0),
    (16, 1795378314949, 2, 'task.leased', 'task 0 given to worker 1', 0),
    (17, 1795378314957, 2, 'attempt.started', 'task 0 started', 0),
    (18, 1795378314996, 2, 'task.ended', 'task 0: ended with exit code 3', 0),
    (19, 1795378314996, 2, 'job.ended', 'all tasks have ended', 0),
    (20, 1795378315010, 3, 'job.submitted', '1 tasks submitted', 0),
    (21, 1795378315010, 3, 'task.leased', 'task 0 given to worker 1', 0),
    (22, 1795378315017, 3, 'attempt.started', 'task 0 started', 0),
    (23, 1795378315075, 3, 'task.pausing', 'task 0 failed, and is to be run again: ended with exit code 1', 0),
    (24, 1795378316076, 3, 'task.leased', 'task 0 given to worker 1', 0),
    (25, 1795378316081, 3, 'attempt.started', 'task 0 started', 0),
    (26, 1795378316138, 3, 'task.ended', 'task 0: ended with exit code 1', 0),
    (27, 1795378316138, 3, 'job.ended', 'all tasks have ended', 0),
    (28, 1795378316151, 4, 'job.submitted', '1 tasks submitted', 0),
    (29, 1795378316151, 4, 'task.leased', 'task 0 given to worker 1', 0),
    (30, 1795378316157, 4, 'attempt.started', 'task 0 started', 0),
    (31, 1795378316165, 4, 'task.ended', 'task 0: succeeded', 0),
    (32, 1795378316165, 4, 'job.ended', 'all tasks have ended', 0),
    (33, 1795378316175, 5, 'job.submitted', '5 tasks submitted', 0),
    (34, 1795378316175, 5, 'task.leased', 'task 1 given to worker 1', 0),
    (35, 1795378316175, 5, 'task.leased', 'task 3 given to worker 1', 0),
    (36, 1795378316185, 5, 'attempt.started', 'task 1 started', 0),
    (37, 1795378316185, 5, 'attempt.started', 'task 3 started', 0),
    (38, 1795378316190, 5, 'task.ended', 'task 1: succeeded', 0),
    (39, 1795378316190, 5, 'task.leased', 'task 5 given to worker 1', 0),
    (40, 1795378316193, 5, 'attempt.started', 'task 5 started', 0),
    (41, 1795378319199, 6, 'job.submitted', '1 tasks submitted', 0),
    (42, 1795378319217, 7, 'job.drafted', 'a draft that waits for files', 0),
    (43, 1795378319222, 7, 'job.files', '1 files came, 0 went', 1),
    (44, 1795378319230, 8, 'job.submitted', '4 tasks submitted', 0),
    (45, 1795378319246, 9, 'job.submitted', '4 tasks submitted', 0),
    (46, 1795378319261, 5, 'tasks.cancelled', '1 waiting tasks cancelled', 0),
    (47, 1795378319261, 6, 'tasks.cancelled', '1 waiting tasks cancelled: job 5, which it was to follow, has not succeeded, so it can never start', 0),
    (48, 1795378319261, 6, 'job.ended', 'all tasks have ended', 0),
    (49, 1795378319270, 10, 'job.submitted', '1 tasks submitted', 0),
    (50, 1795378342185, 8, 'tasks.cancelled', '4 waiting tasks cancelled', 0),
    (51, 1795378342185, 8, 'job.ended', 'all tasks have ended', 0),
    (52, 1795378342194, 9, 'tasks.cancelled', '2 waiting tasks cancelled', 0),
    (53, 1795378342202, 11, 'job.submitted', '4 tasks submitted', 0),
    (54, 1795378342218, 5, 'task.ended', 'task 5: cancelled', 0),
    (55, 1795378342218, 10, 'task.leased', 'task 0 given to worker 1', 0),
    (56, 1795378342221, 10, 'attempt.started', 'task 0 started', 0),
    (57, 1795378342227, 10, 'task.pausing', 'task 0 failed, and is to be run again: ended with exit code 4', 0),
    (58, 1795378342227, 5, 'task.leased', 'task 9 given to worker 1', 0),
    (59, 1795378342232, 5, 'attempt.started', 'task 9 started', 0),
    (60, 1795378346303, 5, 'task.requeued', 'task 3 waits again: the worker was restarted', 0),
    (61, 1795378346303, 5, 'task.requeued', 'task 9 waits again: the worker was restarted', 0),
    (62, 1795378346303, 5, 'task.leased', 'task 3 given to worker 1', 0),
    (63, 1795378346303, 5, 'task.leased', 'task 9 given to worker 1', 0),
    (64, 1795378346313, 5, 'attempt.started', 'task 9 started', 0),
    (65, 1795378346313, 5, 'attempt.started', 'task 3 started', 0);

UPDATE total SET tasks_ended = 14, jobs_from = 0, jobs = 10;
COMMIT;
