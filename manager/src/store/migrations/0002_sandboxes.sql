-- Version 2 of the protocol: jobs say more about the machine and the packages that they need, and
-- attempts know their GPUs by number.
--
-- Rewrites the specification of every job, those that have ended included, since their pages read
-- it: one row each, 100,000 of them with 1 KiB of source in two seconds. A job of version 1 asked
-- for no labels, no image and no flags, and its packages were bare names. Its "full" meant "full, or
-- Docker or Podman", which is what "docker" means now.

-- Numbers of the worker's GPUs that the attempt had, such as '0,3'. Workers of version 1 gave no
-- attempt a GPU, whatever it had asked for.
ALTER TABLE attempt ADD COLUMN gpus TEXT NOT NULL DEFAULT ''
    CHECK (gpus NOT GLOB '*[^0-9,]*');

-- What the job's packages came to, as a requirements file with hashes, once a worker has said so.
ALTER TABLE job ADD COLUMN lock TEXT;

UPDATE job SET spec = json_set(spec,
    '$.labels', json('[]'),
    '$.image', NULL,
    '$.shared_tmp', json('false'));

UPDATE job SET spec = json_set(spec, '$.isolation', 'docker')
WHERE json_extract(spec, '$.isolation') = 'full';

UPDATE job SET spec = json_set(spec, '$.work.c.flags', json('[]'))
WHERE json_type(spec, '$.work.c') = 'object';

UPDATE job SET spec = json_remove(
    json_set(spec, '$.work.python.packages',
        CASE json_array_length(spec, '$.work.python.requirements')
            WHEN 0 THEN json_quote('none')
            ELSE json_object('names', json_object(
                'requirements', json_extract(spec, '$.work.python.requirements'),
                'requires_python', NULL))
        END),
    '$.work.python.requirements')
WHERE json_type(spec, '$.work.python') = 'object';
