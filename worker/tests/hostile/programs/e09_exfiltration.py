# Every datagram and connection that might carry a word out: DNS, ICMP, broadcast, multicast, own host.
import fcntl
names = [name for _, name in socket.if_nameindex()]
(held if set(names) <= {"lo"} else breach)(f"interfaces {names}")
def udp(family, address, options=()):
    with socket.socket(family, socket.SOCK_DGRAM) as s:
        for option in options: s.setsockopt(*option)
        s.settimeout(0.3); s.sendto(b"word", address)
        return f"sent to {address}"
broadcast = (socket.SOL_SOCKET, socket.SO_BROADCAST, 1)
for address in ("8.8.8.8", "10.0.0.1", "172.17.0.1", "192.168.1.1", "169.254.169.254"):
    fails(f"udp {address}", lambda: udp(socket.AF_INET, (address, 53)))
for address in ("255.255.255.255", "224.0.0.251", "239.255.255.250"):
    fails(f"udp {address}", lambda: udp(socket.AF_INET, (address, 5353), (broadcast,)))
for address in ("2001:4860:4860::8888", "ff02::1", "fe80::1"):
    fails(f"udp {address}", lambda: udp(socket.AF_INET6, (address, 53)))
def tcp(family, address):
    with socket.socket(family, socket.SOCK_STREAM) as s:
        s.settimeout(0.5); s.connect(address); return address
for address in ("127.0.0.1", "127.0.0.53", "172.17.0.1", "0.0.0.0"):
    for port in (18999, 2375): fails(f"tcp {address}:{port}", lambda: tcp(socket.AF_INET, (address, port)))
fails("tcp [::1]:18999", lambda: tcp(socket.AF_INET6, ("::1", 18999)))
def echo():
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM, socket.IPPROTO_ICMP) as s:
        s.settimeout(0.3); s.sendto(b"\x08\0\0\0\0\1\0\1word", ("8.8.8.8", 0)); return "sent"
fails("ping", echo)
def fast_open():
    with socket.socket() as s: return s.sendto(b"word", 0x20000000, ("8.8.8.8", 80))
fails("tcp fast open", fast_open)
for name in ("grid.example", "metadata.google.internal", "localhost.localdomain"):
    fails(f"dns {name}", lambda: socket.getaddrinfo(name, 80))
with socket.socket() as s:
    for what, code in (("SIOCSIFFLAGS", 0x8914), ("SIOCSIFADDR", 0x8916), ("SIOCADDRT", 0x890B)):
        fails(what, lambda: fcntl.ioctl(s, code, b"lo".ljust(16, b"\0") + struct.pack("H", 0x41) + bytes(64)))
