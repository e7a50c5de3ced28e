# Every byte there is, thrice over, cut at the worst places.
data = bytes(range(256)) * 30
for at in range(0, len(data), 7): os.write(1, data[at:at + 7])
os.write(2, b"\xed\xa0\x80\xf4\x90\x80\x80\xc0\xaf" + b"\0" * 1000 + "\u202e\u2066abc".encode())
