//! Root that comes to a data directory of somebody else's becomes that user, for good: what lies there is
//! that user's to replace by links, and root would follow them anywhere.

use std::collections::VecDeque;
use std::ffi::{CString, OsString};
use std::fmt;
use std::fs::{self, Metadata};
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Component, Path, PathBuf};

use nix::errno::Errno;
use nix::unistd::{Gid, Uid, User, geteuid, initgroups, setgroups, setresgid, setresuid, setuid};

/// As many links as the kernel follows in one path (path_resolution(7)).
const LINKS_MAX: usize = 40;

/// Writable to all and sticky, like `/tmp`: it is the system's, whoever owns it.
const FOR_ALL: u32 = 0o1002;

/// Why root does not work on a data directory.
#[derive(Debug, thiserror::Error)]
pub enum OwnerError {
    #[error("failed to look at {}", path.display())]
    Look { path: PathBuf, source: io::Error },
    #[error(
        "{} is a link by user {by} to what belongs to user {owner}: give --data-dir the directory itself",
        path.display()
    )]
    Link { path: PathBuf, by: u32, owner: u32 },
    #[error("failed to find out who user {uid} is, who owns {}", path.display())]
    Find { path: PathBuf, uid: u32, source: io::Error },
    #[error(
        "user {uid}, who owns {}, is not known to this system, and its group is root's: chgrp it to a \
         group of that user's", path.display()
    )]
    NoGroup { path: PathBuf, uid: u32 },
    #[error(
        "failed to become user {uid}, who owns {}, and root does not follow another user's links: run \
         this as that user", path.display()
    )]
    Become { path: PathBuf, uid: u32, source: io::Error },
}

/// Whom this process has become.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Owner {
    pub uid: u32,
    /// If the system has one for the user.
    pub name: Option<String>,
}

impl fmt::Display for Owner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.name {
            Some(name) => write!(f, "{name} ({})", self.uid),
            None => write!(f, "{}", self.uid),
        }
    }
}

/// Becomes, if this is root, the user to whom a data directory belongs, or the one in which it would be
/// made; yields who that is, and nothing if that is root or if this is not. There is no way back.
///
/// Call it before anything in the directory is opened and before there are threads. Whatever else is
/// read and written afterwards must be that user's to read and write.
///
/// # Errors
///
/// All of [`OwnerError`]; the process must then end, since it may be half of each.
pub fn become_owner(data_dir: &Path) -> Result<Option<Owner>, OwnerError> {
    if !geteuid().is_root() {
        return Ok(None);
    }
    let Way { end, links } = follow(data_dir)?;
    let is_for_all = end.mode() & FOR_ALL == FOR_ALL;
    let uid = if is_for_all { 0 } else { end.uid() };
    if let Some(link) = links.into_iter().find(|link| ![0, uid].contains(&link.found.uid())) {
        return Err(OwnerError::Link { path: link.path, by: link.found.uid(), owner: uid });
    }
    if uid == 0 {
        return Ok(None);
    }
    let find =
        |source: Errno| OwnerError::Find { path: data_dir.to_owned(), uid, source: source.into() };
    let user = User::from_uid(Uid::from_raw(uid)).map_err(find)?;
    let gid = user.as_ref().map_or(Gid::from_raw(end.gid()), |user| user.gid);
    let name = user.map(|user| user.name);
    if name.is_none() && gid.as_raw() == 0 {
        return Err(OwnerError::NoGroup { path: data_dir.to_owned(), uid });
    }
    change(uid, gid, name.as_deref()).map_err(|source| OwnerError::Become {
        path: data_dir.to_owned(),
        uid,
        source: source.into(),
    })?;
    Ok(Some(Owner { uid, name }))
}

/// Groups go first: an ordinary user may not change them.
fn change(uid: u32, gid: Gid, name: Option<&str>) -> Result<(), Errno> {
    match name.map(CString::new) {
        Some(name) => initgroups(&name.map_err(|_| Errno::EINVAL)?, gid)?,
        None => setgroups(&[])?,
    }
    setresgid(gid, gid, gid)?;
    let uid = Uid::from_raw(uid);
    setresuid(uid, uid, uid)?;
    // The kernel can be told to leave a process its capabilities at this.
    match setuid(Uid::from_raw(0)) {
        Ok(()) => Err(Errno::EPERM),
        Err(_) => Ok(()),
    }
}

/// A link on the way.
#[derive(Debug)]
struct Link {
    path: PathBuf,
    found: Metadata,
}

/// Where a path leads.
#[derive(Debug)]
struct Way {
    /// What it names or, if that is not there, the last that is.
    end: Metadata,
    links: Vec<Link>,
}

/// Walks as the kernel would, since it does not tell by whose links it went.
fn follow(path: &Path) -> Result<Way, OwnerError> {
    let failed = |path: &Path, source| OwnerError::Look { path: path.to_owned(), source };
    let whole = std::path::absolute(path).map_err(|source| failed(path, source))?;
    let mut left = parts(&whole);
    let mut at = PathBuf::from("/");
    let mut links = Vec::new();
    while let Some(part) = left.pop_front() {
        let next = at.join(&part);
        let found = match fs::symlink_metadata(&next) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => break,
            found => found.map_err(|source| failed(&next, source))?,
        };
        if part == ".." {
            at.pop();
        } else if found.is_symlink() {
            let to = fs::read_link(&next).map_err(|source| failed(&next, source))?;
            if to.is_absolute() {
                at = PathBuf::from("/");
            }
            let mut further = parts(&to);
            further.append(&mut left);
            left = further;
            links.push(Link { path: next, found });
            if links.len() > LINKS_MAX {
                return Err(failed(path, Errno::ELOOP.into()));
            }
        } else {
            at = next;
        }
    }
    let end = fs::symlink_metadata(&at).map_err(|source| failed(&at, source))?;
    Ok(Way { end, links })
}

fn parts(path: &Path) -> VecDeque<OsString> {
    let is_step =
        |part: &Component<'_>| matches!(part, Component::Normal(_) | Component::ParentDir);
    path.components().filter(is_step).map(|part| part.as_os_str().to_owned()).collect()
}
