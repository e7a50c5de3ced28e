# Reads much of the system again and again, so that the cache of pages is charged to somebody.
for pass in 1 2; do find /usr/lib /usr/bin -xdev -type f -size -2000k 2>/dev/null | head -4000 | xargs cat >/dev/null 2>&1; done
echo HELD the cache is counted and given back
