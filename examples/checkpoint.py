# Estimates pi by throwing darts, and loses no throw if the laptop that it runs on is taken back.
#
# What lies in $CHECKPOINT_DIR is saved now and then, and when the task is handed back; the next machine
# finds it there again. Written under another name first, so that half a file is never taken for a whole.
import json
import os
import random

THROWS, STEP = 20_000_000, 500_000
state_file = os.path.join(os.environ["CHECKPOINT_DIR"], "state.json")

state = {"thrown": 0, "inside": 0}
if os.path.exists(state_file):
    with open(state_file) as file:
        state = json.load(file)
    print(f"going on after {state['thrown']:,} throws")

while state["thrown"] < THROWS:
    inside = sum(random.random() ** 2 + random.random() ** 2 < 1 for _ in range(STEP))
    state = {"thrown": state["thrown"] + STEP, "inside": state["inside"] + inside}
    with open(state_file + ".new", "w") as file:
        json.dump(state, file)
    os.replace(state_file + ".new", state_file)

print(f"pi is about {4 * state['inside'] / state['thrown']:.4f}")
