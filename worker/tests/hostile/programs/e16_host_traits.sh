# What of the machine's own configuration shows: names of people, hosts, paths, identities.
[ "$(hostname)" = job ] && echo "HELD hostname job" || echo "BREACH hostname $(hostname)"
[ "$(wc -l < /etc/passwd)" -le 4 ] && echo "HELD passwd" || echo "BREACH passwd $(wc -l < /etc/passwd) lines"
[ "$(getent hosts | grep -vc localhost)" = 0 ] && echo "HELD hosts" || echo "BREACH hosts $(getent hosts)"
for f in /etc/machine-id /etc/hostname /etc/resolv.conf /etc/fstab /etc/mtab /etc/environment /etc/ssl/private /etc/gitconfig /etc/pip.conf \
  /var /root /home /mnt /media /srv /opt /run /boot /lost+found  /sys/class/net /sys/class/dmi /sys/devices /sys/fs/cgroup; do
  [ -e $f ] && [ -r $f ] && [ -n "$(ls -A $f 2>/dev/null)" ] && echo "BREACH $f is there" || echo "HELD $f"
done
grep -q -e '/root/' -e '/home/' -e campusgrid-worker -e '/data/' /proc/self/mountinfo && echo "BREACH mountinfo names the machine's paths: $(grep -m1 -e /root/ -e /home/ -e /data/ /proc/self/mountinfo)" || echo "HELD mountinfo"
awk -F: '$3 != "/" { print "BREACH cgroup path " $0; next } { print "HELD cgroup " $0 }' /proc/self/cgroup
env | grep -q -i -e token -e secret -e '^SSH' -e '^SUDO' && echo "BREACH environment" || echo "HELD environment"
tr '\0' '\n' < /proc/1/environ 2>/dev/null | grep -q . && echo "BREACH environment of init" || echo "HELD environment of init"
