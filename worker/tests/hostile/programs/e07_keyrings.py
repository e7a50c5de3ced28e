# Keyrings are not namespaced by user: nothing may be read, left or joined.
kinds = {"thread": -1, "process": -2, "session": -3, "user": -4, "user session": -5}
for name, ring in kinds.items():
    refused(f"get the {name} keyring", 250, 0, ring, 1)
    refused(f"describe the {name} keyring", 250, 6, ring, 0, 0)
    refused(f"add to the {name} keyring", 248, b"user", b"cgmark", b"x", 1, ring)
refused("get_persistent", 250, 22, -1, -3)
refused("join a session keyring", 250, 1, b"campusgrid")
refused("session to parent", 250, 18)
refused("request_key", 249, b"user", b"cgmark", 0, -3)
for path in ("/proc/keys", "/proc/key-users"):
    try: rows = [row for row in open(path).read().splitlines() if row.strip()]
    except OSError as error: held(f"{path}: {error.strerror}"); continue
    # The kernel shows key users of this user namespace only, and keys that may be viewed.
    (held if path == "/proc/key-users" or not any("_uid." in row or "_ses" in row for row in rows) else breach)(f"{path}: {len(rows)} rows")
