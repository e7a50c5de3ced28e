# Variables and files that would make a shell, a loader or an interpreter of somebody else run our words.
cd "${JOB:-/job}" || exit 1
echo 'echo BREACH BASH_ENV was read by a stranger' > trap.sh
for name in .profile .bashrc .bash_profile .pythonrc .pydistutils.cfg .netrc .gitconfig .curlrc; do echo 'echo BREACH' > $name; done
mkdir -p .config/pip .local/lib/python3.11/site-packages && echo 'print("BREACH user site")' > .local/lib/python3.11/site-packages/usercustomize.py
echo 'print("BREACH site")' > sitecustomize.py; echo 'raise SystemExit("BREACH")' > os.py
export BASH_ENV=$PWD/trap.sh ENV=$PWD/trap.sh PYTHONPATH=$PWD PYTHONSTARTUP=$PWD/os.py LD_PRELOAD=$PWD/none.so LD_LIBRARY_PATH=$PWD LD_AUDIT=$PWD/none.so IFS=/ GCONV_PATH=$PWD
cp sitecustomize.py os.py .profile "$OUTPUT_DIR"/ 2>/dev/null
mkdir -p "$OUTPUT_DIR/.ssh" && cp trap.sh "$OUTPUT_DIR/.ssh/rc"
echo HELD the worker runs none of it; exit 4
