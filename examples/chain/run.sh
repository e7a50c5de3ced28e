#!/bin/sh
# Three jobs, one after the other: an array makes parts, a second one squares each part as soon as it is
# there, and a last job adds up what was done. Log in once before, with campusgrid login.
set -eu
here=$(CDPATH='' cd -- "$(dirname -- "$0")" && pwd)
number() { sed 's/.*"job":\([0-9]*\).*/\1/'; }

parts=$(campusgrid submit --cmd 'echo "part $1"' --name parts --array 1-4 --ram 64M --disk 16M \
    --time 1m --json -- '{index}' | number)
squares=$(campusgrid submit "$here/square.py" --array 1-4 --after-ok "$parts" --each --json \
    -- '{index}' | number)
last=$(campusgrid submit --cmd 'echo "all parts are squared"' --name last --after-ok "$squares" \
    --ram 64M --disk 16M --time 1m --json | number)

campusgrid why "$last"
campusgrid wait "$last"
campusgrid logs "$last"
campusgrid jobs --limit 3
