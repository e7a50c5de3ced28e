# More outputs than are taken, and directories deeper than are looked at.
os.chdir(OUT)
for number in range(1500): open(f"{number:04}", "w").write(str(number))
open("0-first.txt", "w").write("first")
for number in range(40): os.mkdir("deep"); os.chdir("deep")
open("buried.txt", "w").write("x")
