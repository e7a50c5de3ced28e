# Address space in pieces: mappings to the kernel's limit, guard pages, growing stacks.
import mmap
areas = []
try:
    while len(areas) < 200000:
        areas.append(mmap.mmap(-1, 4096, prot=mmap.PROT_READ if len(areas) % 2 else 0))
except (OSError, ValueError, MemoryError) as error: print(error)
(held if len(areas) < 200000 else breach)(f"{len(areas)} mappings")
