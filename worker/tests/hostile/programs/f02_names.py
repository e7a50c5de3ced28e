# Names that break lists, terminals, shells, archives and other systems.
os.chdir(OUT)
names = ["a\nb", "\x1b]0;owned\x07", "\u202efdp.exe", "zero\u200bwidth", "\u2066isolate", "-rf", "~", "con", "a:b", "c\\d", "...", ".hidden",
         "<img src=x onerror=alert(1)>", "'; drop table output; --", "${HOME}", "`id`", "%2e%2e%2f", "x" * 255, "e\u0301", "\u00e9", " ", "tab\there", "\x7f", "\u0085", "\ufeffbom"]
for name in names: open(name, "w").write("x")
for name in (b"\xff\xfe", b"\xc0\xae\xc0\xae", b"half\xe2\x80", b"\xed\xa0\x80"): open(name, "wb").write(b"x")
open("ok.txt", "w").write("ok")
