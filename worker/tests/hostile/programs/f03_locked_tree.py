# Files and directories that nobody may read, enter or delete.
os.chdir(OUT)
os.makedirs("closed/inner"); open("closed/inner/file", "w").write("inside"); open("blind", "w").write("blind"); open("ok.txt", "w").write("ok")
for path in ("closed/inner/file", "closed/inner", "closed", "blind"): os.chmod(path, 0)
os.mkdir("/tmp/closed"); open("/tmp/closed/file", "w").close(); os.chmod("/tmp/closed", 0)
os.chmod(OUT, 0); os.chmod(JOB, 0)
