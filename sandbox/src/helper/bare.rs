//! A step without walls: the paths that a task expects are the host's own here.

use std::io;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use nix::unistd::Pid;

use crate::order::{JOB, Order};

use super::kernel;
use super::link::Streams;

/// Replaces the paths inside a sandbox by those on the host, where a text begins with one.
///
/// A value may be a list of paths with colons between them.
pub(super) fn on_host(mut order: Order, scratch: &Path) -> Order {
    let own = [(JOB, "job"), ("/tmp", "tmp")];
    let mut places: Vec<(PathBuf, PathBuf)> =
        own.map(|(inside, name)| (PathBuf::from(inside), scratch.join(name))).to_vec();
    let shown = order.shown.read_only.iter().chain(&order.shown.read_write);
    places.extend(shown.map(|(host, inside)| (inside.clone(), host.clone())));
    let translate = |text: &mut String| {
        let parts: Vec<String> = text.split(':').map(|part| on_host_path(&places, part)).collect();
        *text = parts.join(":");
    };
    order.steps.iter_mut().flatten().for_each(translate);
    order.environment.iter_mut().map(|(_, value)| value).for_each(translate);
    for (_, target) in &mut order.links {
        if let Some(inside) = target.to_str() {
            *target = on_host_path(&places, inside).into();
        }
    }
    order
}

/// Starts `argv` in the task's directory with the task's environment.
///
/// # Errors
///
/// Those of starting a program.
pub(super) fn spawn(
    order: &Order,
    scratch: &Path,
    argv: &[String],
    streams: &Streams,
) -> io::Result<Pid> {
    let mut command = Command::new(&argv[0]);
    let environment = order.environment.iter().map(|(name, value)| (name, value));
    command.args(&argv[1..]).env_clear().envs(environment).current_dir(scratch.join("job"));
    command.stdout(Stdio::from(streams.stdout.try_clone()?));
    command.stderr(Stdio::from(streams.stderr.try_clone()?));
    let child = Pid::from_raw(command.spawn()?.id().cast_signed());
    let _not_essential = kernel::step_back(child);
    Ok(child)
}

fn on_host_path(places: &[(PathBuf, PathBuf)], part: &str) -> String {
    let host = places.iter().find_map(|(inside, host)| {
        let rest = part.strip_prefix(inside.to_str()?)?;
        (rest.is_empty() || rest.starts_with('/')).then(|| format!("{}{rest}", host.display()))
    });
    host.unwrap_or_else(|| part.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_whole_paths_are_translated() {
        let places = [(PathBuf::from("/job"), PathBuf::from("/data/x/job"))];
        let check = |part: &str, wanted: &str| assert_eq!(on_host_path(&places, part), wanted);
        check("/job", "/data/x/job");
        check("/job/outputs", "/data/x/job/outputs");
        check("/jobs", "/jobs");
        check("echo /job", "echo /job");
    }
}
