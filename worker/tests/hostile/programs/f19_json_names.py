# Output paths that look like other outputs: of other jobs, of the worker, of the grid.
os.chdir(OUT)
for path in ("stdout", "stderr", "1.0#1.ended", "spool/1.0#1.ended", "../escape.txt", "runs/x", "outputs/outputs/ok.txt", "main.py", "identity", "lock"):
    os.makedirs(os.path.dirname(path) or ".", exist_ok=True); open(path, "w").write("x")
