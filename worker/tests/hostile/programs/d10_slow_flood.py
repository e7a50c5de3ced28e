# Single bytes, each its own write, on both streams at once.
out, err = 1, 2
for number in range(150000):
    os.write(out, b"."); os.write(err, b"!")
