//! Where the mounted hierarchies show the groups that the worker is in.

use std::path::{Path, PathBuf};

/// The group that the worker is in, in the hierarchy of one controller of cgroup v1.
pub(super) fn find_v1(mounts: &str, groups: &str, controller: &str) -> Option<PathBuf> {
    let own = groups.lines().find_map(|line| {
        let (_, rest) = line.split_once(':')?;
        let (controllers, path) = rest.split_once(':')?;
        controllers.split(',').any(|name| name == controller).then_some(path)
    })?;
    let has_it = |mount: &Mount| mount.options.split(',').any(|name| name == controller);
    place(mounts, "cgroup", own, has_it)
}

/// The topmost group that can be seen and the one that the worker is in.
pub(super) struct V2 {
    pub(super) top: PathBuf,
    pub(super) own: PathBuf,
}

/// `None` where there is no cgroup v2, or where it does not show the worker's group.
pub(super) fn find_v2(mounts: &str, groups: &str) -> Option<V2> {
    let own = groups.lines().find_map(|line| line.strip_prefix("0::"))?;
    let own = place(mounts, "cgroup2", own, |_| true)?;
    let points = mounts.lines().filter_map(parse_mount).filter(|mount| mount.kind == "cgroup2");
    let top = points.map(|mount| PathBuf::from(mount.point)).find(|top| own.starts_with(top))?;
    Some(V2 { top, own })
}

struct Mount<'a> {
    root: &'a str,
    point: &'a str,
    kind: &'a str,
    options: &'a str,
}

/// The directory that shows group `own`, through a mount that may show only a part of the tree.
fn place(mounts: &str, kind: &str, own: &str, wanted: impl Fn(&Mount) -> bool) -> Option<PathBuf> {
    mounts.lines().filter_map(parse_mount).find_map(|mount| {
        if mount.kind != kind || !wanted(&mount) {
            return None;
        }
        let beneath = Path::new(own).strip_prefix(mount.root).ok()?;
        let place = Path::new(mount.point).join(beneath);
        place.join("cgroup.procs").exists().then_some(place)
    })
}

/// One line of `/proc/self/mountinfo`, see proc_pid_mountinfo(5).
fn parse_mount(line: &str) -> Option<Mount<'_>> {
    let (before, after) = line.split_once(" - ")?;
    let mut fields = before.split(' ').skip(3);
    let (root, point) = (fields.next()?, fields.next()?);
    let mut fields = after.split(' ');
    let (kind, _source, options) = (fields.next()?, fields.next()?, fields.next()?);
    Some(Mount { root, point, kind, options })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mounts_that_show_a_part_of_the_tree_are_understood() {
        let line = "33 25 0:28 /docker/x /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory";
        let mount = parse_mount(line).unwrap();
        assert_eq!((mount.root, mount.point), ("/docker/x", "/sys/fs/cgroup/memory"));
        assert_eq!((mount.kind, mount.options), ("cgroup", "rw,memory"));
    }
}
