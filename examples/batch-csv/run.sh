#!/bin/sh
# Runs the whole batch and puts job_1.csv … job_N.csv into the folder outputs.
#
# NUM_JOBS, how many jobs there are, and API_PORT, the port of a manager on this machine, come from the
# environment or from a file .env beside this one (see .env.example). Log in once before, with
# campusgrid login http://localhost:5000. OUTPUTS names another folder.
set -eu
here=$(CDPATH='' cd -- "$(dirname -- "$0")" && pwd)
given_jobs=${NUM_JOBS:-} given_port=${API_PORT:-}
if [ -f "$here/.env" ]; then
    . "$here/.env"
fi
jobs=${given_jobs:-${NUM_JOBS:-5}}
port=${given_port:-${API_PORT:-}}
outputs=${OUTPUTS:-outputs}
if [ -n "$port" ]; then
    CAMPUSGRID_SERVER=http://localhost:$port
    export CAMPUSGRID_SERVER
fi

job=$(campusgrid submit "$here/simulate.py" --array "1-$jobs" --json | sed 's/.*"job":\([0-9]*\).*/\1/')
campusgrid wait "$job"
campusgrid get "$job" --flat --dir "$outputs" --force
