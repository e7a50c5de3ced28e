# The machine's one pool of asynchronous input and output contexts.
contexts = 0
place = ctypes.c_ulong(0)
while contexts < 70000:
    place.value = 0
    if call(206, 64, ctypes.byref(place))[0] < 0: break  # io_setup
    contexts += 1
(held if contexts <= 16 else breach)(f"{contexts} contexts out of the pool of the whole machine")
